"""Heads on maps, and contrasts of places made from them."""

import pytest
import torch
from torch import nn

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.data import DigitsDataModule, ImageAugmentation
from lightning_contrast.encoders import Momentum, SmallCNN
from lightning_contrast.functional.propagation import propagate
from lightning_contrast.heads import LinearHead, PerPlace, Propagation
from lightning_contrast.objectives import PixContrast, PixPro, pixel_contrast
from lightning_contrast.objectives.pixpro import cell_centres
from tests.callbacks.kit import assert_resumes_exactly, fit, sgd


def test_a_linear_head_per_place_is_a_1x1_convolution():
    torch.manual_seed(0)
    head, x = PerPlace(nn.Linear(3, 5), grid=2), torch.randn(4, 3, 2, 2)
    expected = nn.functional.conv2d(x, head.head.weight[:, :, None, None], head.head.bias)
    torch.testing.assert_close(head(x.flatten(1)), expected.flatten(1))


def test_propagation_of_maps():
    torch.manual_seed(0)
    head, x = Propagation(nn.Linear(3, 5), grid=2, gamma=3.0), torch.randn(4, 3, 2, 2)
    places = x.flatten(2).mT
    torch.testing.assert_close(head(x.flatten(1)).unflatten(1, (5, 4)).mT, propagate(places, head.head(places), 3.0))


def test_where_cells_lie():
    """A white pixel is found by the cell that the coordinates name, mirrored or not."""
    image, index = torch.zeros(32, 1, 28, 28), torch.arange(32)
    image[:, :, 12:15, 16:19] = 1.0
    augment = ImageAugmentation(
        boxes=True, scale=(0.8, 1.0), color=0.0, blur=0.0, mean=[0.0], std=[1.0], channels_last=False
    )
    views = augment.views(image, index, epoch=3)
    box = augment.payload(image, index, epoch=3)["box"]
    assert box.shape == (32, 2, 5)
    assert 0 < box[..., 4].mean() < 1
    for view in (0, 1):
        cells = nn.functional.adaptive_avg_pool2d(views[view], 7).flatten(1)
        centres, diagonal = cell_centres(box[:, view], 7)
        found = centres[torch.arange(32), cells.argmax(1)]
        gap = (found - torch.tensor([13.5, 17.5])).norm(dim=1)
        assert (gap < 0.75 * diagonal).all()
    assert ImageAugmentation().payload(image, index, 0) == {}


@pytest.mark.parametrize("kind", [PixPro, PixContrast])
def test_contrasts_of_flattened_maps_are_those_of_places(kind):
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 3, 2, 2)
    box = torch.rand(5, 2, 5) * 9 + 1
    box[..., 4] = torch.arange(10).view(5, 2) % 2
    orders = [Contrast.from_pairs(maps[q].flatten(1), maps[1 - q].flatten(1), box=box) for q in (0, 1)]
    z = maps.flatten(3).mT
    where, size = zip(*(cell_centres(box[:, v], 2) for v in (0, 1)), strict=True)
    places = [pixel_contrast(z[a], z[1 - a], where[a], where[1 - a], size[a], size[1 - a]) for a in (0, 1)]
    torch.testing.assert_close(kind(grid=2)(orders), kind()(places))


def pixpro():
    torch.manual_seed(0)
    return sgd(
        ContrastiveModule(
            SmallCNN([4, 8], grid=2),
            PixPro(grid=2),
            head=PerPlace(LinearHead(6), grid=2),
            predictor=Propagation(LinearHead(6), grid=2),
            key_encoder=Momentum(0.9),
            both_orders=True,
        )
    )


def data():
    return DigitsDataModule(batch_size=48, augmentation=ImageAugmentation(boxes=True))


def test_a_module_trains_on_places(tmp_path):
    assert_resumes_exactly(tmp_path, pixpro, list, stop=1, steps=3, data=data())
    found = [
        fit(pixpro(), steps=n, data=data(), log_every_n_steps=1).callback_metrics["train/loss"].item() for n in (1, 12)
    ]
    assert found[1] < found[0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: PerPlace(nn.Identity(), grid=0), "grid=0"),
        (lambda: PerPlace(nn.Identity(), grid=2)(torch.ones(2, 7)), "no maps of 4 places"),
        (lambda: Propagation(nn.Identity(), gamma=0.0), "gamma=0.0"),
        (lambda: PixPro(grid=0), "grid=0"),
        (lambda: PixPro(grid=2)(Contrast.from_pairs(torch.ones(2, 4), torch.ones(2, 4))), "both orders"),
        (lambda: fit(pixpro(), data=DigitsDataModule(batch_size=48)), "needs batch.'box'."),
    ],
)
def test_misuse(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()
