"""CROMA's masks and attention bias."""

import math

import pytest
import torch
from torch import nn

from lightning_contrast.encoders import MaskedPatches, SmallCNN
from lightning_contrast.functional.alibi import alibi_2d


@pytest.mark.parametrize(("size", "patch", "share"), [((8, 12), 4, 0.75), ((7, 7), 4, 0.5), ((6, 6), 2, 0.3)])
def test_whole_patches_are_hidden(size, patch, share):
    module = MaskedPatches(nn.Identity(), patch, share).train()
    x = torch.ones(20, 2, *size)
    seen = module(x)
    rows, columns = (-(-s // patch) for s in size)
    padded = torch.nn.functional.pad(seen, (0, columns * patch - size[1], 0, rows * patch - size[0]), value=-1)
    for picture in padded:
        blocks = picture[0].unfold(0, patch, patch).unfold(1, patch, patch).flatten(2).flatten(0, 1)
        inside = [set(b[b >= 0].tolist()) for b in blocks]
        assert all(len(b) == 1 for b in inside)
        assert inside.count({0.0}) == int(share * rows * columns)
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert len({tuple(p.flatten().tolist()) for p in seen[:, 0]}) > 1, "masks of their own"


def test_evaluation_sees_everything_and_no_mask_is_the_encoder():
    cnn, x = SmallCNN([4, 8]).eval(), torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(MaskedPatches(cnn).eval()(x), cnn(x))
    assert MaskedPatches(cnn).output_dim == cnn.output_dim
    unmasked = MaskedPatches(nn.Identity(), share=0.0).train()
    assert torch.equal(unmasked(x), x)
    for kwargs in ({"patch": 0}, {"share": 1.0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            MaskedPatches(cnn, **kwargs)


def test_bias_falls_with_the_distance():
    bias = alibi_2d((2, 3), heads=4)
    assert bias.shape == (4, 6, 6)
    assert (bias.diagonal(dim1=1, dim2=2) == 0).all()
    torch.testing.assert_close(bias, bias.mT)
    for h in range(4):
        assert bias[h, 0, 5].item() == pytest.approx(-(2 ** (-2 * (h + 1))) * math.sqrt(5))
    across = alibi_2d((4, 4), 1, other=(2, 2))
    assert across[0, 0, 0].item() == pytest.approx(-(2**-8) * math.sqrt(0.5))
    torch.testing.assert_close(alibi_2d((2, 3), 4, (2, 3)), bias)
    with pytest.raises(ValueError, match="heads=0"):
        alibi_2d((2, 2), 0)
