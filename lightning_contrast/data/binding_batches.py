"""Batches that share one sample of every class."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lightning_contrast.data.columns import column
from lightning_contrast.data.samplers import EpochBatchSampler, epoch_permutation


class BindingBatchSampler(EpochBatchSampler):
    """Every global batch holds the same binding set, one fixed sample of each class, beside others.

    What no batch compares, training does not order; with the binding set every class meets every other in each batch
    (Kini et al., 2023, "Symmetric Neural-Collapse Representations with Supervised Contrastive Loss", section 5). The
    other samples come once an epoch; a last short batch is left out.

    Args:
        labels: Label of each sample, ``[N]``, or a data set that knows them.
        batch_size: Rows per process, the binding set included.
        seed: Seed of the binding set and the order.

    Raises:
        ValueError: If a global batch has no room for more than the binding set, or nothing is left to fill one.
    """

    cut_from_one_order = False

    def __init__(self, labels: Any, batch_size: int, seed: int = 0) -> None:
        super().__init__(seed)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.labels, self.batch_size = column(labels, "label"), batch_size
        self.classes = len(self.labels.unique())

    def binding_set(self) -> list[int]:
        """One sample of each class, drawn by the seed, the same in all epochs."""
        drawn = epoch_permutation(len(self.labels), self.seed, -1)
        _, first = _first_of_each(self.labels[drawn])
        return drawn[first].tolist()

    def _room(self, world: int) -> int:
        """Rows of a global batch beside the binding set."""
        rows = self.batch_size * world
        if rows <= self.classes:
            raise ValueError(
                f"a batch of {self.batch_size} x {world} processes has no room beside the binding set of "
                f"{self.classes} classes: raise batch_size above {self.classes / world:g}"
            )
        if len(self.labels) < rows:
            raise ValueError(
                f"{len(self.labels)} samples do not fill one batch of {self.batch_size} x {world} processes"
            )
        return rows - self.classes

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        return (len(self.labels) - self.classes) // self._room(world)

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """The binding set, then others."""
        room, binding = self._room(world), self.binding_set()
        order = epoch_permutation(len(self.labels), self.seed, epoch)
        order = order[~torch.isin(order, torch.tensor(binding))]
        for number in range(self.global_length(world)):
            yield binding + order[number * room : (number + 1) * room].tolist()


def _first_of_each(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels that occur, and the first place of each."""
    classes, inverse = labels.unique(return_inverse=True)
    place = torch.arange(len(labels))
    first = torch.full((len(classes),), len(labels)).scatter_reduce(0, inverse, place, "amin")
    return classes, first
