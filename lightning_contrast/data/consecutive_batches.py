"""Batches of samples that stand beside each other in the data set."""

from collections.abc import Iterator, Sequence, Sized

import torch

from lightning_contrast.data.samplers import EpochBatchSampler, epoch_permutation
from lightning_contrast.functional.counter_random import hash_integers


class ConsecutiveBatchSampler(EpochBatchSampler):
    """Each batch is a stretch of the data set's order; stretches begin elsewhere in every epoch, and come shuffled.

    For texts whose neighbours in the batch are their positives (``Neighbours``). Several processes share a stretch.

    Args:
        samples: the training samples, or how many there are, >= 1.
        batch_size: rows per process, >= 1. What is left over at the two ends is not in the epoch.
        seed: of the order.

    Raises:
        ValueError: for numbers out of range; in use for less than a batch.
    """

    def __init__(self, samples: int | Sized, batch_size: int, seed: int = 0) -> None:
        super().__init__(seed)
        self.size = len(samples) if isinstance(samples, Sized) else samples
        if self.size < 1 or batch_size < 1:
            raise ValueError(f"samples={self.size}, batch_size={batch_size}: need at least 1 of each.")
        self.batch_size, self.drop_last = batch_size, True

    def global_length(self, world: int) -> int:
        """As many whole stretches as there are after any beginning."""
        rows = self.batch_size * world
        if self.size < rows:
            raise ValueError(
                f"batch_size={self.batch_size} of {world} processes: there are {self.size} samples; lower it."
            )
        return max((self.size + 1) // rows - 1, 1)

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Stretches from a beginning that is a function of (seed, epoch), in a shuffled order."""
        rows, count = self.batch_size * world, self.global_length(world)
        spare = min(self.size - count * rows + 1, rows)
        generator = torch.Generator().manual_seed(hash_integers(self.seed, epoch, 1))
        begin = int(torch.randint(spare, (), generator=generator))
        for number in epoch_permutation(count, self.seed, epoch).tolist():
            start = begin + number * rows
            yield range(start, start + rows)
