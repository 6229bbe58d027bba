"""Fixed wavelets: what they see, and that nothing of them trains."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.encoders import Scattering, ScatteringCNN
from lightning_contrast.encoders.scattering import _filters


def test_shapes_and_nothing_to_train():
    scattering = Scattering(scales=2, angles=4)
    assert not list(scattering.parameters())
    assert not scattering.state_dict()
    assert scattering.maps == 25
    for size, cells in ((28, 7), (14, 4), (9, 3)):
        assert scattering(torch.randn(2, 3, size, size)).shape == (2, 75, cells, cells)
    encoder = ScatteringCNN(angles=4, widths=[8])
    assert {name.split(".")[0] for name, _ in encoder.named_parameters()} == {"adapter"}
    with pytest.raises(ValueError, match="set channels"):
        encoder(torch.zeros(2, 3, 28, 28))
    with pytest.raises(ValueError, match="at least 1"):
        Scattering(scales=0)


def test_a_constant_has_order_0_alone():
    found = Scattering(2, 4)(torch.full((1, 1, 16, 16), 0.5))
    torch.testing.assert_close(found[:, :1], torch.full((1, 1, 4, 4), 0.5))
    assert found[:, 1:].abs().max() < 1e-5


def test_stripes_excite_their_own_direction_and_scale():
    place = torch.arange(32.0)
    fine = torch.cos(3 / 4 * torch.pi * place).expand(1, 1, 32, 32)  # changes from left to right, at the finest scale
    order_1 = Scattering(2, 4)(fine)[0, 1:5].mean((1, 2)), Scattering(2, 4)(fine)[0, 5:9].mean((1, 2))
    assert order_1[0].argmax() == 0
    assert order_1[0][0] > 5 * order_1[0][2]
    assert order_1[0][0] > 3 * order_1[1].max()
    turned = Scattering(2, 4)(fine.mT)[0, 1:5].mean((1, 2))
    assert turned.argmax() == 2


def test_coefficients_by_convolution_at_full_resolution():
    """Circular convolutions as sums over pixels of the padded picture, then every fourth pixel."""
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = Scattering(2, 2)(x)[0]
    padded = F.pad(x, (4, 4, 4, 4), mode="replicate")[0, 0].to(torch.complex128)
    wavelets, low = (torch.fft.ifft2(f.double()) for f in _filters(16, 16, 2, 2))

    def convolved(a, kernel):
        shifts = [a.roll((i, j), (0, 1)) * kernel[i, j] for i in range(16) for j in range(16)]
        return torch.stack(shifts).sum(0)

    def averaged(a):
        return convolved(a, low).real[::4, ::4][1:3, 1:3]

    first = [[convolved(padded, wavelets[j, k]).abs().to(torch.complex128) for k in range(2)] for j in range(2)]
    second = [convolved(first[0][a], wavelets[1, b]).abs() for a in range(2) for b in range(2)]
    expected = [padded, *first[0]], [*second], [*first[1]]
    torch.testing.assert_close(found, torch.stack([averaged(m) for part in expected for m in part]))


def test_moving_a_picture_by_one_pixel_changes_little():
    g = torch.Generator().manual_seed(0)
    x = F.avg_pool2d(torch.randn(1, 1, 34, 34, generator=g), 3, 1)
    moved = x.roll(1, -1)
    change = lambda f: float((f(x) - f(moved)).norm() / f(x).norm())  # noqa: E731
    assert change(Scattering(2, 4)) < 0.6 * change(lambda y: y)
