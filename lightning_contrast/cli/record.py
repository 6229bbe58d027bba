"""What a run says of itself: the exact command, versions, machine, time taken (``run.json`` in the run folder)."""

import os
import platform
import shlex
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_contrast.functional.whole_file import write_json

FILE = "run.json"
PACKAGES = ("lightning-contrast", "torch", "lightning", "torchmetrics", "jsonargparse", "numpy", "scikit-learn")


class RunRecord(pl.Callback):
    """Writes ``run.json`` when training begins, and again when it ends.

    Args:
        folder: of the run.
        command: what was typed, without the program.
    """

    def __init__(self, folder: str, command: Sequence[str]) -> None:
        self.path = Path(folder) / FILE
        self.told: dict[str, Any] = {"command": shlex.join(["lightning-contrast", *command])}
        self._start = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves what is known."""
        self._start = time.monotonic()
        self.told |= {"started": _now(), "first_step": trainer.global_step, "environment": environment(trainer)}
        self._write(trainer, "running")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds how it went."""
        self._write(trainer, "finished")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Adds what stopped it."""
        if self._start:
            self._write(trainer, f"stopped by {type(exception).__name__}")

    def _write(self, trainer: pl.Trainer, state: str) -> None:
        if trainer.is_global_zero:
            done = {"state": state, "step": trainer.global_step, "epoch": trainer.current_epoch}
            seconds = round(time.monotonic() - self._start, 1)
            write_json(self.path, {**self.told, **done, "seconds": seconds})


def environment(trainer: pl.Trainer) -> dict[str, Any]:
    """Versions and machine, by name."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    device = trainer.strategy.root_device
    return {
        "python": platform.python_version(),
        **versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": trainer.world_size,
        "precision": str(trainer.precision),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
