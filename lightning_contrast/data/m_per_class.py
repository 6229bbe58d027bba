"""Batches with several samples of each of several classes, for losses whose positives share a label."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from lightning_contrast.data.columns import column
from lightning_contrast.data.samplers import EpochBatchSampler
from lightning_contrast.functional.counter_random import hash_integers


class MPerClassBatchSampler(EpochBatchSampler):
    """Each global batch holds `m` different samples of each of its classes (Schroff et al., 2015, FaceNet).

    Classes come in shuffled rounds, so all are used equally often whatever their size; a class's samples are
    used up in shuffled order before one returns. The classes of a batch are dealt to the processes whole:
    rank r takes each W-th class, so positives are on its own process too. A pure function of (seed, epoch).

    Args:
        labels: Label of each sample, int64 ``[N]``, or a data set that knows them.
        batch_size: Rows per process, a multiple of `m`.
        m: Samples of a class in a batch, >= 2.
        batches: Batches of an epoch; None is N / (batch_size x number of processes), at least 1.
        seed: Seed of the order.

    Raises:
        ValueError: If a number is out of range, or a class has fewer than `m` samples, or there are fewer
            classes than a global batch needs.
    """

    def __init__(self, labels: Any, batch_size: int, m: int = 2, batches: int | None = None, seed: int = 0) -> None:
        super().__init__(seed)
        labels = column(labels, "label")
        if labels.dim() != 1 or len(labels) == 0:
            raise ValueError(f"labels must be int64 [N] with N >= 1, got shape {list(labels.shape)}")
        if m < 2:
            raise ValueError(f"m is the number of samples of a class in a batch, at least 2, got {m}")
        if batch_size < m or batch_size % m:
            raise ValueError(f"batch_size must be a multiple of m={m}, got {batch_size}")
        if batches is not None and batches < 1:
            raise ValueError(f"batches must be at least 1, got {batches}")
        classes, inverse = labels.unique(return_inverse=True)
        order = inverse.argsort(stable=True)
        self.members = list(order.split(inverse.bincount().tolist()))
        small = [int(c) for c, rows in zip(classes, self.members, strict=True) if len(rows) < m]
        if small:
            raise ValueError(
                f"m={m} samples of a class were asked for, but the classes {small[:10]} have fewer: lower m "
                "or leave these classes out"
            )
        self.size, self.batch_size, self.m, self.batches = len(labels), batch_size, m, batches
        self._check_classes(1)

    def _check_classes(self, world: int) -> int:
        """Classes of a global batch."""
        needed = self.batch_size // self.m * world
        if needed > len(self.members):
            raise ValueError(
                f"a batch of {self.batch_size} x {world} processes with m={self.m} needs {needed} classes, "
                f"but there are {len(self.members)}: raise m or lower batch_size"
            )
        return needed

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        return self.batches or max(1, self.size // (self.batch_size * world))

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Global batches, class by class: `m` consecutive rows are one class."""
        needed = self._check_classes(world)
        generator = torch.Generator().manual_seed(hash_integers(self.seed, epoch))
        queue: list[int] = []
        stacks: list[list[int]] = [[] for _ in self.members]
        for _ in range(self.global_length(world)):
            while len(queue) < needed:
                # a class may not be twice in one batch: the tail of the last round comes first
                fresh = torch.randperm(len(self.members), generator=generator).tolist()
                tail = set(queue)
                queue += [c for c in fresh if c not in tail] + [c for c in fresh if c in tail]
            chosen, queue = queue[:needed], queue[needed:]
            yield [row for c in chosen for row in self._take(c, stacks, generator)]

    def _take(self, number: int, stacks: list[list[int]], generator: torch.Generator) -> list[int]:
        """The next `m` samples of a class; a stack that runs out is refilled below what is left."""
        stack = stacks[number]
        if len(stack) < self.m:
            members = self.members[number]
            fresh = members[torch.randperm(len(members), generator=generator)].tolist()
            left = set(stack)
            stack += [row for row in fresh if row not in left]
        stacks[number] = stack[self.m :]
        return stack[: self.m]

    def shard(self, batch: Sequence[int], rank: int, world: int) -> Sequence[int]:
        """Every W-th class, whole."""
        starts = range(rank * self.m, len(batch), world * self.m)
        return [row for start in starts for row in batch[start : start + self.m]]
