"""Views turned by quarters, for the pretext task of telling how much."""

import torch
from torch import Tensor

from lightning_contrast.data.augment import ImageAugmentation


class RotatedViews(ImageAugmentation):
    """As ``ImageAugmentation``; from view number ``first`` on, row ``i`` of the batch is turned by ``i mod 4`` quarters.

    The regulariser ``RotationPretext`` has to tell them apart. Batches are shuffled, so that a picture's turn changes
    from epoch to epoch.

    Args:
        first: number of the first turned view, >= 0; give ``n_views`` above it.
        kwargs: those of ``ImageAugmentation``.

    Raises:
        ValueError: for a negative number, or pictures that are not square.
    """

    def __init__(self, first: int = 2, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        if first < 0:
            raise ValueError(f"first must be at least 0, got {first}")
        self.first = first

    @torch.no_grad()
    def forward(self, images: Tensor, index: Tensor, epoch: int = 0, view: int = 0) -> Tensor:
        """One view, ``[N, C, H, H]``."""
        out = super().forward(images, index, epoch=epoch, view=view)
        if view < self.first:
            return out
        if out.shape[-1] != out.shape[-2]:
            raise ValueError(f"quarter turns need square pictures, got {list(out.shape)}")
        turned = out.clone()
        for quarters in range(1, 4):
            turned[quarters::4] = torch.rot90(out[quarters::4], quarters, dims=(-2, -1))
        return turned
