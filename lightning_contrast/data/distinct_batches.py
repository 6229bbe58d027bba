"""Batches without two samples of the same id."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.columns import column
from lightning_contrast.data.samplers import EpochBatchSampler
from lightning_contrast.functional.counter_random import hash_integers
from lightning_contrast.functional.distinct_batches import distinct_order, full_batches


class DistinctBatchSampler(EpochBatchSampler):
    """No two samples of a global batch have the same id: a text that occurs twice, frames of one film, a class.

    The batches are planned at once, so their number is known exactly and is the same every epoch:

    - with `drop_last`, as many as can be filled with ``batch_size x processes`` samples of different ids; which samples
      are left over is drawn anew each epoch;
    - without, every sample once, in batches of equal size (to one): as many as rows or the most frequent id demand.

    Args:
        ids: Of each sample, ``[N]`` (numbers, texts, anything hashable), or a data set that knows them by the name `by`.
        batch_size: Rows per process, at most.
        by: What the data set calls them.
        drop_last: Whether to leave samples out for full batches.
        seed: Seed of the order.

    Raises:
        ValueError: If there are fewer ids than a full batch has rows, or batches would have fewer rows than there are
            processes.
    """

    def __init__(self, ids: Any, batch_size: int, by: str = "label", drop_last: bool = True, seed: int = 0) -> None:
        super().__init__(seed)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.ids = column(ids, by)
        self.by, self.batch_size, self.drop_last = by, batch_size, drop_last
        self.counts = self.ids.unique(return_counts=True)[1]

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        rows, size = self.batch_size * world, len(self.ids)
        if not self.drop_last:
            return max(-(-size // rows), int(self.counts.max()))
        if len(self.counts) < rows:
            raise ValueError(
                f"{len(self.counts)} different values of {self.by!r} cannot fill a batch of {self.batch_size} x {world} "
                "processes without repeating one: lower batch_size, or use drop_last=False for smaller batches"
            )
        return full_batches(self.counts, rows)

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Global batches without a repeated id."""
        yield from dealt(self.ids, self.global_length(world), self.batch_size, world, hash_integers(self.seed, epoch))


def dealt(ids: Tensor, batches: int, batch_size: int, world: int, seed: int) -> Iterator[list[int]]:
    """`batches` global batches in which no id is twice, of at most `batch_size` x `world` rows.

    Raises:
        ValueError: If batches would have fewer rows than there are processes.
    """
    order = distinct_order(ids, batches, batch_size * world, torch.Generator().manual_seed(seed))
    if len(order) < batches * world:
        raise ValueError(
            f"so many samples share an id that {batches} batches without a repetition have {len(order) / batches:.1f} rows "
            f"each, too few for {world} processes: use coarser ids, or drop_last=True"
        )
    for number in range(batches):
        yield order[number::batches].tolist()
