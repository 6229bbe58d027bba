"""Batches of samples of similar length, so that little is padded."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.data.samplers import ShuffledBatchSampler, epoch_permutation
from lightning_contrast.functional.counter_random import hash_integers


class LengthBatchSampler(ShuffledBatchSampler):
    """Every sample once an epoch, in batches of similar length that come in random order; sharded and resumable.

    The epoch's permutation is cut into stretches of `stretch` batches, each is sorted by length, and batches are shuffled.
    So batches differ from epoch to epoch. What does not fill a batch comes last.

    Args:
        lengths: of every sample, in any unit.
        batch_size: rows per process, >= 1.
        stretch: batches that are sorted together, >= 1; 1 is no grouping.
        drop_last: whether to leave out a last short batch.
        seed: of the order.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> sampler = LengthBatchSampler([1, 9, 2, 8, 1, 9], batch_size=2)
        >>> sorted(sorted(batch) for batch in sampler)
        [[0, 4], [1, 5], [2, 3]]
    """

    cut_from_one_order = False

    def __init__(
        self, lengths: Sequence[int], batch_size: int, stretch: int = 50, drop_last: bool = False, seed: int = 0
    ) -> None:
        super().__init__(len(lengths), batch_size, drop_last=drop_last, seed=seed)
        if stretch < 1:
            raise ValueError(f"stretch={stretch}: must be at least 1 batch.")
        self.lengths, self.stretch = torch.as_tensor(lengths), stretch

    def order(self, epoch: int, rows: int) -> Tensor:
        """All samples, int64 ``[N]``; `rows` consecutive ones are a global batch."""
        drawn = epoch_permutation(self.size, self.seed, epoch)
        whole = self.size // rows * rows
        grouped = [part[self.lengths[part].argsort(stable=True)] for part in drawn[:whole].split(rows * self.stretch)]
        batches = torch.cat([*grouped, drawn[:0]]).view(-1, rows)
        batches = batches[epoch_permutation(len(batches), hash_integers(self.seed, 1), epoch)] if whole else batches
        return torch.cat([batches.flatten(), drawn[whole:]])
