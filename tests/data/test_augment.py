import pytest
import torch

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.normalize import Normalize

G = torch.Generator().manual_seed(0)
GREY = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8, generator=G)
RGB = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8, generator=G)
INDEX = torch.arange(100, 116)
ALL = {"solarize": 0.5, "erase": 0.5}


@pytest.mark.parametrize("images", [GREY, RGB])
def test_a_pure_function_of_seed_epoch_index_and_view(images):
    augment = ImageAugmentation(seed=4, **ALL)
    whole = augment(images, INDEX, epoch=3, view=1)
    order = torch.randperm(16)
    assert torch.allclose(augment(images[order], INDEX[order], epoch=3, view=1), whole[order], atol=1e-5)
    torch.manual_seed(99)
    assert torch.equal(ImageAugmentation(seed=4, **ALL)(images, INDEX, epoch=3, view=1), whole)
    for half in (slice(0, 16, 2), slice(1, 16, 2)):  # two processes
        assert torch.allclose(augment(images[half], INDEX[half], epoch=3, view=1), whole[half], atol=1e-5)
    for other in (
        augment(images, INDEX, epoch=4, view=1),
        augment(images, INDEX, epoch=3, view=0),
        augment(images, INDEX + 1, epoch=3, view=1),
        ImageAugmentation(seed=5, **ALL)(images, INDEX, epoch=3, view=1),
    ):
        assert ((other - whole).abs().amax((1, 2, 3)) > 0.05).all()


@pytest.mark.parametrize("size", [None, 20, (40, 24)])
@pytest.mark.parametrize("images", [GREY, RGB, GREY.float() / 255])
def test_shape_dtype_and_range(images, size):
    out = ImageAugmentation(size=size)(images, INDEX)
    expected = images.shape[-2:] if size is None else (size, size) if isinstance(size, int) else size
    assert out.shape == (16, images.shape[1], *expected)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.min() >= -1 - 1e-5
    assert out.max() <= 1 + 1e-5


def test_large_images_take_the_other_path_with_like_results():
    images = torch.nn.functional.interpolate(RGB.float() / 255, (96, 96), mode="bilinear")
    augment = ImageAugmentation(size=96, channels_last=False, blur_taps=5)
    out = augment(images, INDEX)
    import lightning_contrast.data.augment as module

    old, module._MATRICES_UP_TO = module._MATRICES_UP_TO, 1000
    try:
        by_matrices = augment(images, INDEX)
    finally:
        module._MATRICES_UP_TO = old
    assert torch.allclose(out, by_matrices, atol=1e-3)
    assert ImageAugmentation(size=32)(images, INDEX).shape == (16, 3, 32, 32)


def test_everything_off_only_normalises():
    off = ImageAugmentation(
        scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0, color=0, grey=0, blur=0, mean=(0.2,), std=(0.3,)
    )  # fmt: skip
    for images in (GREY, RGB):
        assert torch.allclose(off(images, INDEX), Normalize((0.2,), (0.3,))(images), atol=1e-4)
    assert torch.allclose(Normalize((0.2,), (0.3,))(GREY), (GREY.float() / 255 - 0.2) / 0.3)


def test_probabilities_are_respected():
    images = torch.arange(28.0).div(27).expand(4000, 1, 28, 28)
    index = torch.arange(4000)
    plain = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "color": 0, "blur": 0}
    flipped = ImageAugmentation(flip=0.3, **plain)(images, index)
    share = (flipped[:, 0, 0, 0] > 0).float().mean().item()
    assert abs(share - 0.3) < 0.03
    erased = ImageAugmentation(flip=0, erase=1.0, erase_scale=(0.1, 0.1), mean=(0.0,), std=(1.0,), **plain)
    zeros = (erased(images + 0.01, index) == 0).float().mean((1, 2, 3))
    assert abs(zeros.mean() - 0.1) < 0.01


def test_the_crop_has_the_asked_area():
    from lightning_contrast.data.augment import _random_box

    u = list(torch.rand(4, 20000, generator=G))
    top, left, height, width = _random_box(u, 28, 32, (0.2, 0.6), (0.75, 4 / 3))
    share = height * width / (28 * 32)
    assert share.min() > 0.199
    assert share.max() < 0.601
    assert abs(share.mean() - 0.4) < 0.01
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 28 + 1e-4).all()
    assert (left + width <= 32 + 1e-4).all()
    whole = _random_box(u, 28, 28, (1.0, 1.0), (0.5, 2.0))
    assert max(whole[2].max(), whole[3].max()) <= 28


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("flip", 1.5), ("scale", (0.0, 1.0)), ("scale", (0.9, 0.2)), ("ratio", (-1.0, 1.0)), ("hue", 0.7),
        ("blur_taps", 2), ("blur_sigma", (0.0, 1.0)), ("size", 0), ("brightness", 2.0), ("std", (0.0,)),
    ],
)  # fmt: skip
def test_bad_values_name_themselves(argument, value):
    with pytest.raises(ValueError, match=argument):
        ImageAugmentation(**{argument: value})


def test_bad_batches():
    with pytest.raises(ValueError, match=r"\[N, C, H, W\]"):
        ImageAugmentation()(GREY[0], INDEX)
    with pytest.raises(ValueError, match="index"):
        ImageAugmentation()(GREY, INDEX[:3])


def test_views_that_share_their_numbers_within_a_chunk():
    """The same picture under other indices: alike within a chunk of a shared view, and only there."""
    images, index = torch.rand(1, 1, 12, 12).expand(7, 1, 12, 12), torch.arange(7) + 30
    augment = ImageAugmentation(shared_from=2, chunk=3)
    views = augment.views(images, index, epoch=1, count=4)
    plain = ImageAugmentation().views(images, index, epoch=1, count=4)
    for view in (0, 1):
        assert torch.equal(views[view], plain[view])
    for view in (2, 3):
        for i in range(7):
            for j in range(i):
                assert torch.equal(views[view][i], views[view][j]) == (i // 3 == j // 3)
    assert not torch.equal(views[2], views[3])
    with pytest.raises(ValueError, match="chunk must be at least 1"):
        ImageAugmentation(chunk=0)
