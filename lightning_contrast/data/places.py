"""Places seen several times: the second view is another picture of the same place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.data.fashion_mnist_datamodule import FashionMNISTDataModule
from lightning_contrast.data.samplers import BatchKeys
from lightning_contrast.data.tensor_images import TensorImages
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.kmeans import kmeans, nearest_centroid


class Visits(TensorImages):
    """Images with ``other``, in training: an image of the same place at another time, drawn anew every epoch.

    A place with a single image is its own other.

    Args:
        images: uint8 ``[N, C, H, W]``.
        labels: int64 ``[N]``, or None.
        index: of each in the data set it is a part of, int64 ``[N]``.
        place: int64 ``[N]``, any group: images of one place, object, patient.
        seed: of the draws.
        **payload: what else is known of each, ``[N, ...]``.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | None,
        index: Tensor | None,
        place: Tensor,
        seed: int = 0,
        **payload: Tensor,
    ) -> None:
        super().__init__(images, labels, index, place=place, **payload)
        self.seed = seed
        _, group, self._count = place.unique(return_inverse=True, return_counts=True)
        self._order = group.argsort(stable=True)
        self._start = self._count.cumsum(0) - self._count
        self._group = group
        self._rank = torch.empty_like(group)
        self._rank[self._order] = torch.arange(len(group)) - self._start[group[self._order]]

    def other(self, positions: Tensor, epoch: int) -> Tensor:
        """Positions of the others, int64 ``[n]``."""
        group = self._group[positions]
        count = self._count[group]
        u = counter_uniform(self.index[positions], 1, seed=self.seed, epoch=epoch, view=2)[:, 0]
        further = 1 + (u * (count - 1)).long().clamp(max=count.sub(2).clamp(min=0))
        return self._order[self._start[group] + (self._rank[positions] + further) % count]

    def __getitems__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        batch = super().__getitems__(list(positions))
        if isinstance(positions, BatchKeys) and positions.epoch is not None:
            chosen = torch.tensor(list(positions), dtype=torch.int64)
            batch["other"] = self.images[self.other(chosen, positions.epoch)]
        return batch


class PlacesDataModule(FashionMNISTDataModule):
    """Fashion-MNIST as places on a globe: a stand-in for pictures with a place and a time (Ayush et al. 2021).

    Each picture's coordinates are its first three principal components, brought to the sphere, so that what looks alike lies
    near; ``region`` is its cluster of coordinates. A ``place`` is ``visits`` pictures of one class (labels say what is one
    place) from the same part of the globe. In training the second view shows the place at another visit.

    Args:
        visits: pictures a place, >= 1; 1 leaves both views to one picture.
        regions: clusters of coordinates, >= 2.
        **data: as :class:`FashionMNISTDataModule`.

    Raises:
        ValueError: If a number is out of range.
    """

    requires = ("label",)

    def __init__(self, visits: int = 4, regions: int = 100, **data: Any) -> None:
        super().__init__(**data)
        if visits < 1 or regions < 2:
            raise ValueError(f"visits={visits}, regions={regions}: must be at least 1 and 2.")
        if self.n_views != 2:
            raise ValueError(f"PlacesDataModule makes two views, one a visit, not n_views={self.n_views}.")
        self.visits, self.regions = visits, regions

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits, and finds places and regions, once."""
        if hasattr(self, "train_set"):
            return
        super().setup(stage)
        train, held, test = self.train_set, self.val_set, self.test_set
        assert isinstance(train, TensorImages)
        assert isinstance(held, TensorImages)
        assert isinstance(test, TensorImages)
        assert train.labels is not None
        x = train.images.flatten(1).float() / 255
        mean = x.mean(0)
        axes = torch.linalg.eigh((x - mean).mT @ (x - mean) / len(x)).eigenvectors[:, -3:]

        def coordinates(part: TensorImages) -> Tensor:
            return F.normalize((part.images.flatten(1).float() / 255 - mean) @ axes, dim=1)

        centres, region = kmeans(coordinates(train), min(self.regions, len(x)), seed=self.seed)
        place, first = torch.empty_like(region), 0
        for label in train.labels.unique():
            rows = (train.labels == label).nonzero()[:, 0]
            rows = rows[region[rows].argsort(stable=True)]
            place[rows] = first + torch.arange(len(rows)) // self.visits
            first = int(place[rows].max()) + 1
        self.train_set = Visits(train.images, train.labels, train.index, place, self.seed, region=region)
        for name, part in (("val_set", held), ("test_set", test)):
            known = nearest_centroid(coordinates(part), centres)[1]
            setattr(self, name, TensorImages(part.images, part.labels, part.index, region=known))

    def make_views(self, batch: dict[str, Any], epoch: int = 0, keep_input: bool = False) -> dict[str, Any]:
        """As without places, the second view of the other visit."""
        other = batch.get("other")
        made = super().make_views({k: v for k, v in batch.items() if k not in ("other", "place")}, epoch, keep_input)
        if other is not None:
            second = self.augmentation(other, batch["index"], epoch=epoch, view=1)
            if self.pairs:
                made["positive"] = second
            else:
                made["views"] = [made["views"][0], second]
        return made
