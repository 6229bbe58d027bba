"""Work beside the training: a thread with a copy of the module, which cannot reach into the training."""

import copy
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from lightning_contrast.callbacks.embedding import sample_batch
from lightning_contrast.contrast.exchange import world_size
from lightning_contrast.data.resume import isolated_random_state

T = TypeVar("T")
Check = Callable[[], None]


class Stopped(Exception):
    """The training ended while work was under way."""


class Background(Generic[T]):
    """Runs a function in a thread.

    Args:
        work: is given a function to call now and then; it raises where the work is no longer wanted.
    """

    def __init__(self, work: Callable[[Check], T]) -> None:
        self.seconds = 0.0
        """What it took."""
        self._unwanted = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), name="refresh", daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Check], T]) -> None:
        began = time.perf_counter()
        try:
            self._value = work(self._check)
        except BaseException as error:
            self._error = error
        self.seconds = time.perf_counter() - began

    def _check(self) -> None:
        if self._unwanted.is_set():
            raise Stopped

    def result(self) -> T:
        """Waits; an error of the work is raised here."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]

    def stop(self) -> None:
        """Ends the work at its next check, and waits for that."""
        self._unwanted.set()
        self._thread.join()


def snapshot(pl_module: Any, weights: Mapping[str, Tensor] | None = None) -> Any:
    """A frozen copy in evaluation mode, without Trainer; with the buffers of the first process on all.

    Args:
        pl_module: the module; its layers, parameters and buffers are copied, other attributes shared.
        weights: an earlier copy's ``state_dict``; ``None`` is the module's now.
    """
    # Not copy.deepcopy: what a module keeps of the step, with its graph, cannot be copied.
    made = object.__new__(type(pl_module))
    memo, held = {id(pl_module): made}, dict(vars(pl_module))
    registered = {name: copy.deepcopy(held[name], memo) for name in ("_parameters", "_buffers", "_modules")}
    vars(made).update({**held, **registered, "_trainer": None})
    if weights is not None:
        made.load_state_dict(weights)
    made.requires_grad_(False)
    made.eval()
    if world_size() > 1:  # DDP brings BatchNorm's statistics together only in the next forward pass
        for buffer in made.buffers():
            dist.broadcast(buffer, 0)
    return made


def require_background(trainer: Any, who: str) -> None:
    """Whether a copy of the module can be made.

    Raises:
        ValueError: for strategies that spread a module over processes.
    """
    if not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
        raise ValueError(
            f"{who}(asynchronous=True) copies the module, which {type(trainer.strategy).__name__} does not hold in one "
            "piece: use asynchronous=False, or one device, or DDP."
        )


def require_quiet_samples(trainer: Any, source: DataLoader[Any], who: str) -> None:
    """Whether samples can be read beside the training: without its random numbers and its hooks.

    Raises:
        ValueError: for samples that draw random numbers in this process, or that hooks change.
    """
    with isolated_random_state(0):
        before = _generators()
        batch = sample_batch(source)
        quiet = before == _generators() or source.num_workers > 0
    if not quiet:
        raise ValueError(
            f"{who}(asynchronous=True): the samples draw random numbers, which the training would miss. Give the DataModule "
            "a bank_dataloader() without augmentation, or read in worker processes (num_workers=1)."
        )
    with isolated_random_state(0):
        plain = tree_leaves(move_data_to_device(batch, trainer.strategy.root_device))
        hooked = tree_leaves(trainer.strategy.batch_to_device(batch))
    if len(plain) != len(hooked) or any(
        isinstance(a, Tensor) and not (isinstance(b, Tensor) and torch.equal(a, b))
        for a, b in zip(plain, hooked, strict=True)
    ):
        raise ValueError(
            f"{who}(asynchronous=True): a batch transfer hook changes the samples, and hooks do not run beside the "
            "training. Give the DataModule a bank_dataloader() whose batches are ready for the encoder."
        )


def _generators() -> tuple[Any, ...]:
    legacy: Any = np.random.get_state()
    return random.getstate(), legacy[1].tobytes(), legacy[2], torch.get_rng_state().numpy().tobytes()


def beside(trainer: Any) -> AbstractContextManager[Any]:
    """The user's precision in a thread: autocast is the thread's own, a default dtype would be everybody's."""
    plugin = trainer.precision_plugin
    return plugin.forward_context() if isinstance(plugin, MixedPrecision) else nullcontext()
