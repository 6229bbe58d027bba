"""MultiCrop: small views beside the large ones, of any DataModule, for any objective."""

import pytest
import torch

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.data import DigitsDataModule, ImageAugmentation, MultiCrop
from lightning_contrast.encoders import Momentum, SmallCNN
from lightning_contrast.functional.resample import apply_matrices, resample_matrix
from lightning_contrast.objectives import InfoNCE, SimSiam, SwAV

PLAIN = {"flip": 0.0, "color": 0.0, "blur": 0.0}


def pictures(n=6, size=16):
    images = torch.randint(0, 256, (n, 1, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return images, torch.arange(n) + 40


def test_large_views_are_those_of_the_plain_augmentation():
    images, index = pictures()
    both = MultiCrop(small_size=8, seed=3).views(images, index, epoch=2, count=5)
    large = ImageAugmentation(seed=3).views(images, index, epoch=2, count=2)
    assert all(torch.equal(a, b) for a, b in zip(both, large, strict=False))
    small = ImageAugmentation(size=8, scale=(0.1, 0.4), seed=3)
    for view in (2, 3, 4):
        assert torch.equal(both[view], small(images, index, epoch=2, view=view))


def test_a_small_crop_shows_its_share_of_the_area():
    """A crop of exactly a quarter of a ramp spans half of its values; resampled to 4 pixels by hand."""
    ramp = torch.arange(16.0).div(16).expand(1, 1, 16, 16).clone()
    crop = MultiCrop(small_size=4, small_scale=(0.25, 0.25), ratio=(1.0, 1.0), mean=(0.0,), std=(1.0,), **PLAIN)
    view = crop(ramp, torch.tensor([5]), view=2)
    steps = view[0, 0, 0].diff()
    torch.testing.assert_close(steps, torch.full((3,), 2 / 16))  # 8 pixels of 16, four places: two apart
    left = (view[0, 0, 0, 0] * 16 - 0.5).reshape(1)  # the crop begins half a step before its first place
    rows, columns = (resample_matrix(x, torch.tensor([8.0]), 16, 4) for x in (left, left))
    torch.testing.assert_close(apply_matrices(ramp, rows, columns)[0, 0, 0], view[0, 0, 0], rtol=0, atol=1e-5)


def test_every_datamodule_has_it_by_one_setting():
    data = DigitsDataModule(image_size=16, batch_size=8, n_views=4, augmentation=MultiCrop(small_size=8))
    data.setup()
    batch = data.make_views(data.train_set.__getitems__(list(range(8))))
    assert [tuple(v.shape[1:]) for v in batch["views"]] == [(1, 16, 16)] * 2 + [(1, 8, 8)] * 2


@pytest.mark.parametrize("objective", [InfoNCE(0.2), SwAV(6, dim=16)], ids=["infonce", "swav"])
def test_objectives_over_several_views(objective):
    """All views in one contrast; views of one size are encoded together, each size once."""
    calls = []
    encoder = SmallCNN([4, 8], grid=1)
    encoder.register_forward_hook(lambda module, args, out: calls.append(tuple(args[0].shape)))
    module = ContrastiveModule(encoder, objective, head=torch.nn.Linear(8, 16))
    images, index = pictures()
    batch = {"views": MultiCrop(small_size=8).views(images, index, 0, 5), "index": index}
    contrast = module.contrast(batch)
    assert isinstance(contrast, Contrast)
    assert contrast.anchors.first.shape == (30, 16)
    assert calls == [(12, 1, 16, 16), (18, 1, 8, 8)]
    loss = module.training_step(batch)
    loss.backward()
    assert torch.isfinite(loss)


def test_small_views_are_never_keys():
    module = ContrastiveModule(SmallCNN([4, 8], grid=1), SimSiam(), key_encoder=Momentum(0.9))
    images, index = pictures()
    names = [
        c.name for c in module.contrast({"views": MultiCrop(small_size=8).views(images, index, 0, 4), "index": index})
    ]
    assert sorted(names) == sorted(
        ["view1->view2", "view2->view1", *(f"view{q}->view{k}" for q in (3, 4) for k in (1, 2))]
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"small_size": 0}, "small_size=0"), ({"small_scale": (0.5, 0.1)}, "small_scale"), ({"large_views": 0}, "large_views=0")],
)  # fmt: skip
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MultiCrop(**kwargs)
