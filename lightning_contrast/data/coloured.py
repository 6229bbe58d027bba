"""Pictures whose colour gives their class away, in training."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.fashion_mnist_datamodule import FashionMNISTDataModule
from lightning_contrast.data.tensor_images import TensorImages
from lightning_contrast.functional.counter_random import counter_uniform

COLOURS = torch.tensor([
    [255, 30, 30], [30, 255, 30], [40, 40, 255], [255, 255, 30], [255, 30, 255],
    [30, 255, 255], [255, 140, 30], [150, 80, 255], [160, 160, 160], [255, 180, 200],
], dtype=torch.uint8)  # fmt: skip


def coloured(images: Tensor, labels: Tensor, index: Tensor, share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Grey pictures in the colour of their class, or, the rest, in one of the others.

    Args:
        images: uint8 ``[N, 1, H, W]``.
        labels: int64 ``[N]``, 0 to 9.
        index: int64 ``[N]``, which the draws are for.
        share: how many have the colour of their class, in [0, 1]; 0.1 is no hint.
        seed: of the draws.

    Returns:
        uint8 ``[N, 3, H, W]``, and the number of the colour ``[N]``.
    """
    u = counter_uniform(index, 2, seed=seed)
    other = (labels + 1 + (u[:, 1] * 9).long().clamp(max=8)) % 10
    colour = torch.where(u[:, 0] < share, labels, other)
    # In parts, since 60,000 coloured pictures as floating point are half a gigabyte.
    parts = zip(images.split(4096), COLOURS[colour].split(4096), strict=True)
    return torch.cat([(x.short() * c[:, :, None, None].short() // 255).to(torch.uint8) for x, c in parts]), colour


class ColouredDataModule(FashionMNISTDataModule):
    """Fashion-MNIST in colours that are biased in training and not in validation and test (Nam et al. 2020 for MNIST).

    Who learns the colour instead of the shape fails where the colour says nothing. Batches have ``bias`` as well, the number
    of the colour.

    Args:
        share: of training pictures in the colour of their class, in [0, 1].
        **data: as :class:`FashionMNISTDataModule`.

    Raises:
        ValueError: If a number is out of range.
    """

    pixels = (0.15, 0.28)

    def __init__(self, share: float = 0.99, **data: Any) -> None:
        super().__init__(**data)
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: a share of the training pictures, in [0, 1].")
        self.share = share

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and colours, once."""
        if hasattr(self, "train_set"):
            return
        super().setup(stage)
        for name, share in (("train_set", self.share), ("val_set", 0.1), ("test_set", 0.1)):
            part = getattr(self, name)
            images, bias = coloured(part.images, part.labels, part.index, share, self.seed)
            setattr(self, name, TensorImages(images, part.labels, part.index, bias=bias))
