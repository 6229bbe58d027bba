"""What the terminal shows of a training: a bar where somebody looks, a line an epoch where nobody does."""

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar
from rich.console import Console
from torch import Tensor
from torch.utils._pytree import tree_leaves

from lightning_contrast.callbacks.geometry_monitor import GeometryMonitor
from lightning_contrast.contrast import Contrast
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.functional.nests import is_texts
from lightning_contrast.modules.figures import temperature_of

EVERY = 2.0  # seconds between two looks: a look costs milliseconds, a step may cost no more than that
SAMPLE = 64  # anchors
WIDE, NARROW = 180, 80  # columns of a terminal: of a line for all figures; too few for a bar beside them


class LiveFigures(ProgressBar):
    """The few figures that matter, of some anchors of a step, every two seconds and of an epoch's last step.

    Nothing of the training depends on it.

    Loss beside its chance level, similarity of positives and of the hardest negatives, temperature, negatives an anchor,
    samples a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: dict[str, str] = {}
        """What is shown, by name."""
        self.steps, self.samples, self.seconds = 0, 0, 0.0
        """Of all epochs: what was trained, and how long that took."""
        self.unit = "samples"
        self.chance: float | None = None
        """Level of the loss at which nothing has been learned, as seen last."""
        self._monitor = GeometryMonitor(sample=SAMPLE)
        self._looked = 0.0
        self._began = 0.0
        self._since = (0.0, 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock starts."""
        super().on_train_start(trainer, pl_module)
        self._began = time.monotonic()
        self._since = (self._began, 0)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Counts samples."""
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        if not isinstance(batch, Mapping) or not isinstance(batch.get("index"), Tensor):
            return
        if not self.samples:
            self.unit = unit_of(batch)
        self.steps += 1
        self.samples += len(batch["index"]) * trainer.world_size

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Looks, if it is time to."""
        now = time.monotonic()
        last = getattr(trainer, "is_last_batch", False)  # short epochs too end with figures of their own
        if self.is_disabled or (self.shown and not last and now - self._looked < EVERY):
            return
        self._looked = now
        objective = getattr(pl_module.objective, "objective", pl_module.objective)
        # Others may keep a state or draw numbers when they are asked for their chance level.
        asked = objective if getattr(objective, "form", None) == "softmax" else SimpleNamespace(reduction="batch")
        found = {key: float(value) for key, value in self._monitor.figures(contrast, asked).items()}
        if "chance" not in found and "geometry/chance" in trainer.callback_metrics:
            found["chance"] = float(trainer.callback_metrics["geometry/chance"])
        self.shown = self._told({**found, "loss": float(loss), "temperature": float(temperature_of(contrast))}, now)

    def _told(self, found: dict[str, float], now: float) -> dict[str, str]:
        self.chance = found.get("chance")
        chance = f" (chance {found['chance']:.3g})" if "chance" in found else ""
        out = {"loss": f"{found['loss']:.3g}{chance}"}
        for key, name in (("positive", "positive"), ("hardest_negative", "hardest negative")):
            if key in found:
                out[name] = f"{found[key]:.2f}"
        out |= {"temperature": f"{found['temperature']:.3g}", "negatives": f"{found['negatives']:,.0f}"}
        began, before = self._since
        if self.samples > before and now > began:
            out[f"{self.unit}/s"] = f"{(self.samples - before) / (now - began):,.0f}"
        if now - began >= EVERY:  # a rate of less than that is noise
            self._since = (now, self.samples)
        return out

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The clock stops."""
        super().on_train_end(trainer, pl_module)
        self.seconds = time.monotonic() - self._began

    @property
    def is_disabled(self) -> bool:
        """Whether nothing is shown on this process."""
        return not getattr(self, "_on", True)

    def disable(self) -> None:
        """Show nothing."""
        self._on = False

    def enable(self) -> None:
        """Show again."""
        self._on = True


class Progress(LiveFigures, RichProgressBar):
    """Lightning's rich bar with the figures that matter, and without the number of the run's version."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """What stands beside the bar."""
        others = super().get_metrics(trainer, pl_module)
        return {**self.shown, **{k: v for k, v in others.items() if k not in ("v_num", "train/loss")}}

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """The figures stand in the last column: what they do not need gives way to them on a narrow terminal."""
        name, bar, batches, seconds, speed = super().configure_columns(trainer)
        width = Console().width
        if trainer.state.fn != "fit" or width >= WIDE:
            return [name, bar, batches, seconds, speed]
        bar.bar_width = 10
        return [name, bar, batches, seconds] if width >= NARROW else [name, batches, seconds]

    def _get_train_description(self, current_epoch: int) -> str:
        """From 1, as a person counts; Lightning's counts from 0, and says ``/-2`` where no number of epochs is set."""
        return f"Epoch {_of_epochs(self.trainer)}".ljust(len(self.validation_description))

    is_disabled = RichProgressBar.is_disabled
    disable, enable = RichProgressBar.disable, RichProgressBar.enable


class Lines(LiveFigures):
    """One line an epoch, for logs."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the line."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.is_disabled or not self.shown:
            return
        others = {k: f"{float(v):.3g}" for k, v in trainer.progress_bar_metrics.items() if k.startswith("val/")}
        told = ", ".join(f"{name} {value}" for name, value in {**self.shown, **others}.items())
        line = f"epoch {_of_epochs(trainer)}, step {trainer.global_step}: {told}"
        Console().print(line, highlight=False, soft_wrap=True, markup=False)


def progress_bar() -> ProgressBar:
    """A bar on a terminal, lines elsewhere (CI, files, pipes)."""
    return Progress() if Console().is_terminal else Lines()


def _of_epochs(trainer: pl.Trainer) -> str:
    last = "" if trainer.max_epochs in (None, -1) else f" of {trainer.max_epochs}"
    return f"{trainer.current_epoch + 1}{last}"


def unit_of(batch: Mapping[str, Any]) -> str:
    """What a batch holds: images, texts or samples."""
    leaves = tree_leaves(next(iter(batch_inputs(batch).values()), None), is_leaf=is_texts)
    if any(is_texts(leaf) or (isinstance(leaf, Tensor) and not leaf.is_floating_point()) for leaf in leaves):
        return "texts"
    return "images" if any(isinstance(leaf, Tensor) and leaf.dim() == 4 for leaf in leaves) else "samples"
