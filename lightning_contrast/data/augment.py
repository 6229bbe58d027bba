"""Augmentation of a whole image batch at once, with its own parameters for every image and view."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_contrast.data.normalize import Normalize, as_float
from lightning_contrast.functional.color import adjust_color, adjust_grey, color_matrix
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.resample import (
    apply_matrices,
    blur_along,
    blur_taps,
    resample_matrix,
    sample_crops,
)

_NUMBERS = 20  # uniform numbers of an image; fixed, so that switching one step off leaves the others' draws alone
_MATRICES_UP_TO = 64  # pixels; beyond, interpolation at points is cheaper (unless it would alias)


class ImageAugmentation(nn.Module):
    """SimCLR's augmentation (Chen et al., 2020, appendix A) of small images in two batched products.

    Every number an image needs is a pure function of (seed, epoch, index, view), so a resumed run and a run
    on several processes augment alike. Steps: crop, resize, flip, blur, colour, solarise, normalise, erase.

    Args:
        size: Side of the result in pixels, or height and width; None keeps the input's.
        scale: Range of the crop's share of the area, within (0, 1].
        ratio: Range of the crop's width : height, > 0.
        flip: Probability of mirroring left and right.
        brightness: Factors are drawn from [1 - b, 1 + b]; b in [0, 1].
        contrast: As brightness.
        saturation: As brightness; three channels only.
        hue: Turns are drawn from [-h, h] in parts of the circle, h in [0, 0.5]; three channels only.
        color: Probability of brightness, contrast, saturation and hue together.
        grey: Probability of losing the colour; three channels only.
        blur: Probability of blur.
        blur_sigma: Range of the blur's sigma in pixels, > 0.
        blur_taps: Width of the blur in pixels, odd.
        solarize: Probability of inverting the values above 0.5.
        erase: Probability of setting a rectangle to the mean.
        erase_scale: Range of the rectangle's share of the area, within (0, 1).
        mean: For normalising, one value a channel or one for all; None is a DataModule's own, else 0.5.
        std: The same, > 0.
        channels_last: Whether the result is in channels-last memory order (faster convolutions on CPUs and
            GPUs).
        seed: Seed of all numbers.
        boxes: Whether batches say which part of the image each view shows, as ``box`` ``[N, V, 5]``: top, left,
            height, width in pixels of the image, and 1 where it is mirrored.
        shared_from: Views of this number and above share their numbers within a chunk, as CARE wants it; None:
            no view does.
        chunk: Consecutive rows of a batch that share them, >= 1.

    Raises:
        ValueError: If a value is out of its range.

    Example::

        >>> augment = ImageAugmentation(seed=1)
        >>> images, index = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.arange(4)
        >>> first, second = augment.views(images, index, epoch=0)
        >>> first.shape
        torch.Size([4, 1, 28, 28])
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.3, 1.0),
        ratio: tuple[float, float] = (0.75, 4 / 3),
        flip: float = 0.5,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        color: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.5,
        blur_sigma: tuple[float, float] = (0.1, 1.0),
        blur_taps: int = 3,
        solarize: float = 0.0,
        erase: float = 0.0,
        erase_scale: tuple[float, float] = (0.02, 0.2),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels_last: bool = True,
        seed: int = 0,
        boxes: bool = False,
        shared_from: int | None = None,
        chunk: int = 16,
    ) -> None:
        super().__init__()
        if chunk < 1 or (shared_from is not None and shared_from < 0):
            raise ValueError(
                f"chunk must be at least 1 and shared_from at least 0 (or None), got {chunk}, {shared_from}"
            )
        self.shared_from, self.chunk = shared_from, chunk
        for name, value in {
            "flip": flip, "color": color, "grey": grey, "blur": blur, "solarize": solarize, "erase": erase,
            "brightness": brightness, "contrast": contrast, "saturation": saturation,
        }.items():  # fmt: skip
            _check_range(name, (value, value), 0.0, 1.0)
        _check_range("hue", (hue, hue), 0.0, 0.5)
        _check_range("scale", scale, 1e-4, 1.0)
        _check_range("erase_scale", erase_scale, 1e-4, 0.99)
        _check_range("ratio", ratio, 1e-2, 1e2)
        _check_range("blur_sigma", blur_sigma, 1e-3, 1e2)
        if blur_taps < 1 or blur_taps % 2 == 0:
            raise ValueError(f"blur_taps is the blur's width in pixels, odd, got {blur_taps}")
        self.size = (size, size) if isinstance(size, int) else size
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be at least 1 pixel, got {size}")
        self.scale, self.ratio, self.flip = scale, ratio, flip
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.color, self.grey = color, grey
        self.blur, self.blur_sigma, self.blur_taps = blur, blur_sigma, blur_taps
        self.solarize, self.erase, self.erase_scale = solarize, erase, erase_scale
        self.channels_last, self.seed, self.boxes = channels_last, seed, boxes
        self.normalize = Normalize(mean or (0.5,), std or (0.5,))
        self.default_normalize = mean is None and std is None

    def views(self, images: Tensor, index: Tensor, epoch: int, count: int = 2) -> list[Tensor]:
        """`count` views of every image: a list of float32 ``[N, C, *size]``."""
        return [self(images, index, epoch=epoch, view=view) for view in range(count)]

    @torch.no_grad()
    def payload(self, images: Tensor, index: Tensor, epoch: int, count: int = 2) -> dict[str, Tensor]:
        """What the batch is told of these views besides: ``box``, if asked for."""
        if not self.boxes:
            return {}
        h, w = images.shape[-2:]
        known = []
        for view in range(count):
            draw = self._draw(images, index, epoch, view)
            mirrored = (draw[4] < self.flip).float()
            known.append(torch.stack([*_random_box(draw[:4], h, w, self.crop(view)[1], self.ratio), mirrored], 1))
        return {"box": torch.stack(known, 1)}

    def _draw(self, images: Tensor, index: Tensor, epoch: int, view: int) -> list[Tensor]:
        """Uniform numbers ``[N]`` of a view."""
        if self.shared_from is not None and view >= self.shared_from:
            index = index[torch.arange(len(index), device=index.device) // self.chunk * self.chunk]
        numbers = counter_uniform(index.to(images.device), _NUMBERS, seed=self.seed, epoch=epoch, view=view)
        return list(numbers.unbind(1))

    @torch.no_grad()
    def forward(self, images: Tensor, index: Tensor, epoch: int = 0, view: int = 0) -> Tensor:
        """One view.

        Args:
            images: uint8, or float in [0, 1], ``[N, C, H, W]``.
            index: Index of each in the data set, int64 ``[N]``.
            epoch: The epoch.
            view: The view's number.

        Returns:
            float32 ``[N, C, *size]``, normalised.
        """
        if images.dim() != 4 or len(index) != len(images):
            raise ValueError(
                f"images must be [N, C, H, W] with an index [N], got {list(images.shape)} and {list(index.shape)}"
            )
        draw = self._draw(images, index, epoch, view)
        out = self._geometry(as_float(images), draw[:7], *self.crop(view))
        out = self._color(out, draw[7:13])
        if self.solarize:
            inverted = torch.where(out > 0.5, 1 - out, out)
            out = torch.where((draw[13] < self.solarize).view(-1, 1, 1, 1), inverted, out)
        out = out.sub_(self.normalize.mean.to(out.device)).div_(self.normalize.std.to(out.device))
        if self.erase:
            out = self._erase(out, draw[14:19])
        return out.contiguous(memory_format=torch.channels_last) if self.channels_last else out

    def crop(self, view: int) -> tuple[tuple[int, int] | None, tuple[float, float]]:
        """Size in pixels and share of the area of the crops of a view; for subclasses whose views differ."""
        return self.size, self.scale

    def _geometry(
        self, images: Tensor, u: list[Tensor], size: tuple[int, int] | None, scale: tuple[float, float]
    ) -> Tensor:
        h, w = images.shape[-2:]
        size = size or (h, w)
        box = _random_box(u[:4], h, w, scale, self.ratio)
        flip = u[4] < self.flip
        taps = None
        if self.blur:
            sigma = torch.where(u[5] < self.blur, _between(u[6], *self.blur_sigma), 0.0)
            taps = blur_taps(sigma, self.blur_taps)
        shrinks = h > 1.25 * size[0] or w > 1.25 * size[1]
        if max(h, w) > _MATRICES_UP_TO and not shrinks:
            return sample_crops(images, box, size, flip, taps)
        top, left, height, width = box
        rows = resample_matrix(top, height, h, size[0])
        columns = resample_matrix(left, width, w, size[1], flip)
        if taps is not None:
            rows, columns = blur_along(rows, taps, 1), blur_along(columns, taps, 1)
        return apply_matrices(images, rows, columns)

    def _color(self, images: Tensor, u: list[Tensor]) -> Tensor:
        applied = u[0] < self.color

        def factor(number: Tensor, strength: float) -> Tensor:
            return torch.where(applied, 1 + strength * (2 * number - 1), 1.0)

        brightness, contrast = factor(u[1], self.brightness), factor(u[2], self.contrast)
        if images.shape[1] != 3:
            return adjust_grey(images, brightness, contrast)
        hue = torch.where(applied, self.hue * (2 * u[4] - 1), 0.0)
        matrix = color_matrix(brightness, factor(u[3], self.saturation), hue, u[5] < self.grey)
        return adjust_color(images, matrix, contrast)

    def _erase(self, images: Tensor, u: list[Tensor]) -> Tensor:
        h, w = images.shape[-2:]
        top, left, height, width = _random_box(u[:4], h, w, self.erase_scale, (0.5, 2.0))
        y = torch.arange(h, device=images.device) + 0.5
        x = torch.arange(w, device=images.device) + 0.5
        row = (y > top[:, None]) & (y < (top + height)[:, None])
        column = (x > left[:, None]) & (x < (left + width)[:, None])
        inside = row[:, :, None] & column[:, None, :] & (u[4] < self.erase).view(-1, 1, 1)
        return images.masked_fill(inside[:, None], 0.0)


def _between(u: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * u


def _random_box(
    u: list[Tensor], h: int, w: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height, width ``[N]`` in pixels, inside the image: area uniform, ratio log-uniform."""
    area = _between(u[0], *scale) * (h * w)
    aspect = torch.exp(_between(u[1], *torch.tensor(ratio).log().tolist()))
    height = (area / aspect).sqrt().clamp(max=float(h))
    width = (area * aspect).sqrt().clamp(max=float(w))
    return u[2] * (h - height), u[3] * (w - width), height, width


def _check_range(name: str, value: tuple[float, float], low: float, high: float) -> None:
    if not low <= value[0] <= value[1] <= high:
        shown = value[0] if value[0] == value[1] else value
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], smaller value first, got {shown}")
