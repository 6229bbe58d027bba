"""Batches of several data sets, each batch from one of them."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from lightning_contrast.data.length_batches import LengthBatchSampler
from lightning_contrast.data.samplers import EpochBatchSampler, ShuffledBatchSampler, epoch_permutation
from lightning_contrast.functional.counter_random import hash_integers


class OneSourceBatchSampler(EpochBatchSampler):
    """Every batch holds samples of one source, on all processes; sharded and resumable.

    Args:
        source: of every sample, whole numbers >= 0.
        batch_size: rows per process, >= 1.
        rule: ``proportional``: every source once, so that it has batches in proportion to its size, in random order;
            ``round_robin``: a batch of each in turn, until the first source has none left.
        lengths: of every sample; then batches are of similar length as well.
        drop_last: whether to leave out each source's last short batch; a source with less than one keeps it.
        seed: of the order.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> sampler = OneSourceBatchSampler([0, 0, 0, 0, 1, 1], batch_size=2, rule="round_robin")
        >>> [sorted(batch)[0] // 4 for batch in sampler]
        [0, 1]
    """

    def __init__(
        self,
        source: Sequence[int],
        batch_size: int,
        rule: Literal["proportional", "round_robin"] = "proportional",
        lengths: Sequence[int] | None = None,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed)
        if rule not in ("proportional", "round_robin"):
            raise ValueError(f"rule={rule!r}: must be proportional or round_robin.")
        self.batch_size, self.rule = batch_size, rule
        self.drop_last = drop_last
        known = torch.as_tensor(source)
        self.rows = [(known == number).nonzero()[:, 0] for number in known.unique().tolist()]
        self.lengths = None if lengths is None else torch.as_tensor(lengths)
        self._inner()  # refuses numbers out of range at once

    def _inner(self) -> list[ShuffledBatchSampler]:
        made: list[ShuffledBatchSampler] = []
        for number, rows in enumerate(self.rows):
            seed = hash_integers(self.seed, number)  # the seed may be set by a checkpoint
            drop_last = self.drop_last and len(rows) >= self.batch_size
            if self.lengths is None:
                made.append(ShuffledBatchSampler(len(rows), self.batch_size, drop_last=drop_last, seed=seed))
            else:
                lengths = self.lengths[rows].tolist()
                made.append(LengthBatchSampler(lengths, self.batch_size, drop_last=drop_last, seed=seed))
        return made

    def _counts(self, world: int) -> list[int]:
        counts = [sampler.global_length(world) for sampler in self._inner()]
        return counts if self.rule == "proportional" else [min(counts)] * len(counts)

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        return sum(self._counts(world))

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Batches of the sources, dealt by the rule."""
        counts = self._counts(world)
        if self.rule == "proportional":
            dealt = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
            order = dealt[epoch_permutation(len(dealt), self.seed, epoch)].tolist() if len(dealt) else []
        else:
            order = list(range(len(counts))) * counts[0]
        plans = [sampler.plan(epoch, world) for sampler in self._inner()]
        for number in order:
            yield self.rows[number][torch.tensor(next(plans[number]))].tolist()
