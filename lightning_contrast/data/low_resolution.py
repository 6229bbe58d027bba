"""Pairs for super-resolution: a picture of low resolution, and the truth."""

import torch
from torch import Tensor

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.normalize import as_float
from lightning_contrast.functional.resolution import lowered


class LowResolution(ImageAugmentation):
    """The first view is the picture at a lower resolution (means of pixels), the second the picture; values in [0, 1].

    With ``pairs=True`` of a DataModule they are ``anchor`` and ``positive``. Nothing is drawn.

    Args:
        factor: of the resolution, >= 1, a divisor of the sides.

    Raises:
        ValueError: for other numbers of views, or sides that the factor does not divide.
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__(mean=(0.0,), std=(1.0,), channels_last=False)
        self.factor = factor

    @torch.no_grad()
    def views(self, images: Tensor, index: Tensor, epoch: int, count: int = 2) -> list[Tensor]:
        """``[N, C, h, w]`` and ``[N, C, H, W]``."""
        if count != 2:
            raise ValueError(f"LowResolution makes two views, the low resolution and the truth, not n_views={count}.")
        truth = as_float(images)
        return [lowered(truth, self.factor), truth]
