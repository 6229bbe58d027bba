"""Images in memory, taken out a batch at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset


class TensorImages(Dataset[dict[str, Any]]):
    """uint8 images whose whole batches are one indexing operation; use with ``collate_fn=as_is``.

    Args:
        images: uint8 ``[N, C, H, W]``.
        labels: int64 ``[N]``, or None.
        index: The position of each in the data set it is a part of, int64 ``[N]``; None counts from 0.
        **payload: What else is known of each, ``[N, ...]``, by key.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(
        self, images: Tensor, labels: Tensor | None = None, index: Tensor | None = None, **payload: Tensor
    ) -> None:
        if images.dim() != 4:
            raise ValueError(f"images must be [N, C, H, W], got {list(images.shape)}")
        self.images = images
        self.labels = labels
        self.payload = payload
        self.index = torch.arange(len(images)) if index is None else index
        for name, value in (("labels", labels), ("index", self.index)):
            if value is not None and (value.shape != images.shape[:1] or value.dtype != torch.int64):
                raise ValueError(f"{name} must be int64 [{len(images)}], got {value.dtype} {list(value.shape)}")
        for name, value in payload.items():
            if value.shape[:1] != images.shape[:1]:
                raise ValueError(f"{name} must have one row an image, [{len(images)}, ...], got {list(value.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {key: value[0] for key, value in self.__getitems__([position]).items()}

    def __getitems__(self, positions: list[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(list(positions), dtype=torch.int64)
        batch = {"input": self.images[chosen], "index": self.index[chosen]}
        if self.labels is not None:
            batch["label"] = self.labels[chosen]
        return batch | {key: value[chosen] for key, value in self.payload.items()}


def as_is(batch: Any) -> Any:
    """The collate function of data sets whose ``__getitems__`` returns a whole batch."""
    return batch
