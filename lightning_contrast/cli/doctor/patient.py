"""From the arguments of ``fit`` to an observation: the same parsing, a few steps, nothing written."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers.logger import DummyLogger

from lightning_contrast.cli.doctor.clock import StepClock
from lightning_contrast.cli.doctor.observation import Observation, Step
from lightning_contrast.cli.doctor.probe import EnoughSeen, Probe
from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.modules.setup import first_batch

# One process that writes nothing, shows nothing, evaluates nothing and does not stop by itself.
FIXED: dict[str, Any] = {
    "devices": 1, "num_nodes": 1, "strategy": "auto", "sync_batchnorm": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0, "num_sanity_val_steps": 0,
    "min_steps": None, "min_epochs": None, "max_time": None, "fast_dev_run": False, "barebones": False,
    "accumulate_grad_batches": 1,
}  # fmt: skip


class Patient(ContrastiveCLI):
    """``fit`` that takes a few steps and keeps what it saw as :attr:`seen`.

    Args:
        args: of ``fit``, without its name.
        steps: to watch.
    """

    def __init__(self, args: list[str], steps: int) -> None:
        self.steps = steps
        self.seen: Observation | None = None
        super().__init__(args=["fit", *args])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """As configured, but for what a look must not do; what was asked is kept."""
        config = self._get(self.config_init, "trainer")
        self.save_config_callback = None
        self.asked = dict(config)
        self.clock = StepClock()
        given = config.get("callbacks") or []
        callbacks = [
            c
            for c in (given if isinstance(given, list) else [given])
            if not isinstance(c, (Checkpoint, ProgressBar)) or isinstance(c, Probe)
        ]
        ours = {**FIXED, "logger": DummyLogger(), "profiler": self.clock, "callbacks": callbacks}
        return self._instantiate_trainer({**config, **kwargs, **ours}, [])

    def _run_subcommand(self, subcommand: str) -> None:
        seen = Observation(self.asked, self.model, self.datamodule, self.trainer)
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        callbacks.append(Probe(seen, self.steps, self.clock))
        fit: Callable[..., None] = self.trainer.fit
        try:
            with _quietly():
                fit(self.model, datamodule=self.datamodule, ckpt_path=self._get(self.config, "ckpt_path"))
        except EnoughSeen:
            pass
        except Exception as error:  # a finding like any other; Ctrl-C goes through
            seen.failure = error
            seen.reached = f"step {len(seen.steps)}" if seen.steps else "set-up"
            if not seen.steps:
                self._look_at_a_batch(seen)
        self.seen = seen

    def _look_at_a_batch(self, seen: Observation) -> None:
        """What could not even be set up may be explained by its data."""
        with suppress(Exception):
            seen.steps.append(Step(first_batch(self.model, "fit")))

    def after_fit(self) -> None:
        """Nothing was trained."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Lightning's remarks on a run that is none."""
    log = logging.getLogger("lightning.pytorch")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
