"""Batches whose content is a pure function of (seed, epoch): sharded by rank, resumable, epoch-aware.

Lightning replaces the sampler of a loader when it distributes, unless the sampler is a
``DistributedSampler``; it calls ``set_epoch`` on it at every epoch. The samplers here are such samplers and
do the sharding themselves, so one process and N processes see the same global batches: rank r of W takes rows
``r::W`` of each.
"""

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DistributedSampler, Sampler

from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.functional.counter_random import hash_integers


class BatchKeys(list[int]):
    """The sample indices of one batch, which also know the epoch and the batch's number.

    A data set's ``__getitems__`` receives this list, in a worker process too, and can derive its random
    numbers from it instead of from the worker's history.
    """

    def __init__(self, indices: Sequence[int] = (), epoch: int = 0, number: int = 0) -> None:
        super().__init__(indices)
        self.epoch = epoch
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (list(self), self.epoch, self.number)


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) when nothing is distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


class EpochBatchSampler(DistributedSampler[int]):
    """Base: yields this rank's part of the epoch's global batches, from a place that can be saved and set.

    A subclass says what the global batches of an epoch are (:meth:`plan`) and how many
    (:meth:`global_length`).

    Args:
        seed: Seed of the order, any integer.
    """

    cut_from_one_order: ClassVar[bool] = False
    """Whether batches are consecutive pieces of an order that is the same for every size of the batch."""

    def __init__(self, seed: int = 0) -> None:
        # not DistributedSampler.__init__: it wants to know the ranks before they exist
        self.seed = int(seed)
        self.epoch = 0
        self._cycle = -1  # passes begun since the last set_epoch: a loader may be iterated twice in one epoch
        self._start = 0

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """The global batches of this epoch, equal on all ranks."""
        raise NotImplementedError

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        raise NotImplementedError

    @property
    def pass_number(self) -> int:
        """The epoch, made distinct for repeated passes within one epoch; what random numbers hang on."""
        return self.epoch + (max(self._cycle, 0) << 32)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of an epoch; a place saved in another epoch is forgotten."""
        if epoch != self.epoch:
            self.epoch, self._cycle, self._start = int(epoch), -1, 0

    def __len__(self) -> int:
        return self.global_length(rank_and_world()[1])

    def __iter__(self) -> Iterator[list[int]]:  # type: ignore[override]
        rank, world = rank_and_world()
        start, self._start = self._start, 0
        self._cycle += 1
        epoch = self.pass_number
        for number, batch in enumerate(self.plan(epoch, world)):
            if number >= start:
                yield BatchKeys(self.shard(batch, rank, world), epoch, number)

    def shard(self, batch: Sequence[int], rank: int, world: int) -> Sequence[int]:
        """The rows of a global batch that are this rank's."""
        return batch[rank::world]

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and pass; the loader adds how many batches were handed out."""
        return {"seed": self.seed, "epoch": self.epoch, "cycle": max(self._cycle, 0)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue the saved pass after `batches` batches."""
        self.seed, self.epoch = state["seed"], state["epoch"]
        # the next __iter__ begins this very pass again
        self._cycle, self._start = state["cycle"] - 1, state.get("batches", 0)


BatchSamplerCallable = Callable[[Any, int], EpochBatchSampler]
"""From the training samples and the rows per process to the batches; in YAML a ``class_path`` with further arguments."""


class ShuffledBatchSampler(EpochBatchSampler):
    """Every sample once an epoch, in an order that is a pure function of (seed, epoch).

    A subclass may put the samples in another order (:meth:`order`).

    Args:
        size: Number of samples, >= 1, or anything that has so many.
        batch_size: Rows per process, >= 1; the global batch has `batch_size` x number of processes.
        shuffle: Whether to shuffle; False keeps the data set's order.
        drop_last: Whether to leave out a last short batch. When it is kept and has fewer rows than there are
            processes, it is left out all the same: no process may be without a row.
        seed: Seed of the order.

    Raises:
        ValueError: If a number is out of range.
    """

    cut_from_one_order = True

    def __init__(
        self, size: int | Sized, batch_size: int, shuffle: bool = True, drop_last: bool = False, seed: int = 0
    ) -> None:
        super().__init__(seed)
        size = len(size) if isinstance(size, Sized) else size
        if size < 1:
            raise ValueError(f"size is the number of samples, at least 1, got {size}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.size, self.batch_size = size, batch_size
        self.shuffle, self.drop_last = shuffle, drop_last

    def global_length(self, world: int) -> int:
        """Number of global batches an epoch."""
        whole, rest = divmod(self.size, self.batch_size * world)
        return whole + (rest >= world and not self.drop_last)

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Consecutive pieces of the epoch's permutation."""
        rows = self.batch_size * world
        order = self.order(epoch, rows)
        for number in range(self.global_length(world)):
            yield order[number * rows : (number + 1) * rows].tolist()

    def order(self, epoch: int, rows: int) -> Tensor:
        """All samples, int64 ``[N]``; `rows` consecutive ones are a global batch."""
        return epoch_permutation(self.size, self.seed, epoch) if self.shuffle else torch.arange(self.size)


class ReplayedBatchSampler(EpochBatchSampler):
    """Another sampler's batches, made a pure function of (seed, epoch).

    Any sampler that draws from the global generators or from a generator of its own becomes resumable: at the
    start of a pass all of them are seeded by (seed, epoch), the batches of the pass are drawn at once, and
    the global generators are put back. The sampler is taken to be sharded already.

    Args:
        batch_sampler: The batch sampler of a user's loader; it must end.
        seed: Seed of the order.
    """

    cut_from_one_order = True  # as far as can be known

    def __init__(self, batch_sampler: Sampler[list[int]], seed: int = 0) -> None:
        super().__init__(seed)
        self.batch_sampler = batch_sampler
        self.drop_last = getattr(batch_sampler, "drop_last", False)
        self.batch_size = getattr(batch_sampler, "batch_size", None)

    @property
    def sampler(self) -> Any:
        """The inner sampler (Lightning and users look for it)."""
        return getattr(self.batch_sampler, "sampler", self.batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """Also tells the inner sampler, which may know epochs itself."""
        super().set_epoch(epoch)
        inner: Any
        for inner in (self.batch_sampler, self.sampler):
            if callable(getattr(inner, "set_epoch", None)):
                inner.set_epoch(epoch)

    def global_length(self, world: int) -> int:
        """Number of batches of this rank."""
        return len(self.batch_sampler)  # type: ignore[arg-type]

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """All batches of the pass, drawn at once from freshly seeded generators."""
        with isolated_random_state(hash_integers(self.seed, epoch)):
            for inner in (self.batch_sampler, self.sampler):
                if isinstance(generator := getattr(inner, "generator", None), torch.Generator):
                    generator.manual_seed(hash_integers(self.seed, epoch, 1))
            batches = list(self.batch_sampler)
        yield from batches

    def shard(self, batch: Sequence[int], rank: int, world: int) -> Sequence[int]:
        """Everything: the inner sampler has sharded."""
        return batch


def epoch_permutation(size: int, seed: int, epoch: int) -> Tensor:
    """A permutation of ``range(size)``, a pure function of (seed, epoch). Returns int64 ``[size]``."""
    generator = torch.Generator().manual_seed(hash_integers(seed, epoch))
    return torch.randperm(size, generator=generator)
