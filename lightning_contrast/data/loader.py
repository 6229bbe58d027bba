"""Loaders that know their place: stopped in mid-epoch and resumed, they continue with the next batch.

Lightning's fit loop stores the state of any loader with ``state_dict``/``load_state_dict`` in its
checkpoints.
"""

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lightning_contrast.data.resume import seed_random_state
from lightning_contrast.data.samplers import (
    BatchKeys,
    EpochBatchSampler,
    ReplayedBatchSampler,
    rank_and_world,
)
from lightning_contrast.functional.counter_random import hash_integers


class ResumableLoader(DataLoader[Any]):
    """A ``DataLoader`` over an :class:`EpochBatchSampler` with a place that can be saved.

    Nothing is drawn from the global generators, and iteration begins at the first ``next``: Lightning creates
    the iterator before it says which epoch it is, and worker processes would fetch the wrong one ahead.

    Args:
        dataset: A map-style data set. Its ``__getitems__``, if any, receives :class:`BatchKeys`.
        batch_sampler: Which batches; shards by rank itself, so Lightning leaves the loader as it is.
        kwargs: Of ``DataLoader``, except ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.

    Example::

        >>> from lightning_contrast.data.samplers import ShuffledBatchSampler
        >>> loader = ResumableLoader(range(10), ShuffledBatchSampler(10, 4))
        >>> [len(batch) for batch in loader]
        [4, 4, 2]
    """

    def __init__(self, dataset: Dataset[Any], batch_sampler: EpochBatchSampler, **kwargs: Any) -> None:
        if not isinstance(batch_sampler, EpochBatchSampler):
            raise TypeError(
                f"batch_sampler must be an EpochBatchSampler, such as ShuffledBatchSampler, got "
                f"{type(batch_sampler).__name__}; for a DataLoader of another kind use make_resumable(loader)"
            )
        kwargs.setdefault("generator", torch.Generator())
        super().__init__(dataset, batch_sampler=batch_sampler, **kwargs)
        # DataLoader puts a SequentialSampler here, which Lightning would replace by a sharding one
        object.__setattr__(self, "sampler", batch_sampler)
        self._handed_out = 0

    @property
    def _plan(self) -> EpochBatchSampler:
        return self.batch_sampler  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        self._handed_out = self._plan._start
        # the workers' seeds; what they draw must not depend on it, see SeededDataset
        self.generator.manual_seed(hash_integers(self._plan.seed, self._plan.epoch))
        for batch in super().__iter__():
            self._handed_out += 1
            yield batch

    def set_epoch(self, epoch: int) -> None:
        """For loops without Lightning; an unchanged epoch means one more pass in another order."""
        self._plan.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch, pass, batches handed out, and what a global batch is made of; equal on all ranks."""
        rows = getattr(self._plan, "batch_size", None)
        place = {"batches": self._handed_out, "world": rank_and_world()[1]}
        return {**self._plan.state_dict(), **place, **({"batch_size": rows} if isinstance(rows, int) else {})}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches handed out; with global batches of another size, after the samples.

        Raises:
            ValueError: If these samples are no whole number of batches here.
        """
        state = dict(state)
        world = rank_and_world()[1]
        held, here = state.pop("batch_size", None), getattr(self._plan, "batch_size", None)
        if held is None or not isinstance(here, int):
            held = here = 1  # not known: taken to be as many as before
        rows = here * world
        if held * state["world"] != rows:
            samples = state["batches"] * held * state["world"]
            if samples % rows:
                raise ValueError(
                    f"the checkpoint was saved after {state['batches']} batches on {state['world']} processes, "
                    f"{samples} rows in all, which is no whole number of batches of {rows} on {world}: resume from one "
                    "saved at the end of an epoch"
                )
            if state["batches"] and not self._plan.cut_from_one_order:
                rank_zero_warn(
                    f"{type(self._plan).__name__}: a global batch has {rows} rows now, and had "
                    f"{held * state['world']}. The rest of this epoch is composed anew, so samples of it may come twice or "
                    "not at all; later epochs are complete."
                )
            state["batches"] = samples // rows
        self._plan.load_state_dict(state)
        self._handed_out = state["batches"]


class SeededDataset(Dataset[Any]):
    """Seeds a worker's generators for each batch, from (seed, epoch, number of the batch, rank).

    A worker that starts anew in mid-epoch thereby draws what the first one would have drawn.
    """

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # while unpickling
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, keys: list[int]) -> list[Any]:
        if isinstance(keys, BatchKeys) and torch.utils.data.get_worker_info() is not None:
            seed_random_state(hash_integers(self.seed, keys.epoch, keys.number, keys[0] if keys else 0))
        whole_batch = getattr(self.dataset, "__getitems__", None)
        return whole_batch(keys) if whole_batch else [self.dataset[key] for key in keys]


def make_resumable(loader: Any, seed: int | None = None) -> Any:
    """Any finite map-style ``DataLoader`` with a place that can be saved; what has one stays as it is.

    The order becomes a pure function of (seed, epoch), whatever the sampler, and is no longer the one that
    the plain loader would have drawn. What cannot be indexed (an ``IterableDataset``, a subclass with an
    ``__iter__`` of its own, ``batch_size=None``, no ``DataLoader`` at all) is returned unchanged: Lightning
    then warns when it resumes.

    Args:
        loader: A loader, after the strategy's sampler was put in.
        seed: Seed of the order; None takes ``torch.initial_seed()``, that is, the one of ``seed_everything``.
    """
    if (
        hasattr(loader, "state_dict")
        or not isinstance(loader, DataLoader)
        or type(loader).__iter__ is not DataLoader.__iter__
        or isinstance(loader.dataset, IterableDataset)
        or loader.batch_sampler is None
        or not hasattr(type(loader.batch_sampler), "__len__")
    ):
        return loader
    seed = torch.initial_seed() if seed is None else seed
    dataset = SeededDataset(loader.dataset, seed) if loader.num_workers else loader.dataset
    return ResumableLoader(
        dataset,
        ReplayedBatchSampler(loader.batch_sampler, seed),  # type: ignore[arg-type]
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
    )
