"""The temperature as a function of the step or epoch, for any objective."""

import math
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.contrast import Contrast
from lightning_contrast.temperatures import Fixed
from lightning_contrast.temperatures.temperature import check_temperature

Kind = Literal["constant", "linear", "cosine", "cyclic"]


def scheduled(kind: Kind, start: float, end: float, t: float, period: float) -> float:
    """The value at time ``t``.

    ``constant``: ``start``. ``linear`` and ``cosine`` reach ``end`` at ``period`` and stay. ``cyclic`` swings from
    ``start`` to ``end`` and back within each ``period`` along a cosine (Kukleva et al. 2023, eq. 6).

    Example:
        >>> [round(scheduled("cyclic", 0.1, 1.0, t, 400), 2) for t in (0, 100, 200, 400)]
        [0.1, 0.55, 1.0, 0.1]
    """
    if kind == "constant":
        return start
    if kind == "linear":
        share = min(max(t, 0.0) / period, 1.0)
    elif kind == "cosine":
        share = (1 - math.cos(math.pi * min(max(t, 0.0) / period, 1.0))) / 2
    else:
        share = (1 - math.cos(2 * math.pi * max(t, 0.0) / period)) / 2
    return start + (end - start) * share


class TemperatureSchedule(ContrastCallback):
    """Sets the temperature of every contrast of a fit, training and validation, from the step or epoch alone.

    Nothing is stored: a resumed run continues where it was. The module logs the value as ``train/temperature``. Outside
    ``fit`` (``validate``, ``test``) the objective's own temperature holds.

    Args:
        start: first value, > 0.
        end: the other value, > 0; ``None`` is ``start``.
        kind: see :func:`scheduled`.
        period: steps or epochs to reach ``end`` (of a whole cycle when cyclic); ``None`` is the planned rest of the
            training after ``warmup``.
        by: what is counted: optimizer steps or epochs.
        warmup: so long the value stays at ``start``.

    Raises:
        ValueError: for values out of range; at set-up beside a temperature that is not fixed, or without a planned end.
    """

    def __init__(
        self,
        start: float = 0.1,
        end: float | None = None,
        kind: Kind = "cosine",
        period: float | None = None,
        by: Literal["step", "epoch"] = "step",
        warmup: float = 0,
    ) -> None:
        if kind not in ("constant", "linear", "cosine", "cyclic"):
            raise ValueError(f"kind={kind!r}: use 'constant', 'linear', 'cosine' or 'cyclic'.")
        if by not in ("step", "epoch"):
            raise ValueError(f"by={by!r}: use 'step' or 'epoch'.")
        if period is not None and not 0 < period < math.inf:
            raise ValueError(f"period={period}: must be a finite number > 0 of {by}s, or None for the whole training.")
        if not 0 <= warmup < math.inf:
            raise ValueError(f"warmup={warmup}: must be a finite number >= 0 of {by}s.")
        self.start, self.end = (
            check_temperature(start, "start"),
            check_temperature(start if end is None else end, "end"),
        )
        self.kind: Kind = kind
        self.period, self.by, self.warmup = period, by, warmup
        self._planned: float | None = None

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuses a second owner of the temperature."""
        super().setup(trainer, pl_module, stage)
        own = getattr(pl_module.objective, "temperature", None)
        if not isinstance(own, Fixed):
            raise ValueError(
                f"TemperatureSchedule would override {type(pl_module.objective).__name__}'s {type(own).__name__} "
                "temperature, which would then never be used or trained: give the objective a number, or remove the "
                "schedule."
            )
        if any(isinstance(c, TemperatureSchedule) and c is not self for c in trainer.callbacks):  # type: ignore[attr-defined]
            raise ValueError("There are two TemperatureSchedules: the second would win. Remove one.")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Learns the planned length of the training."""
        self._planned = self.period
        if self.period is None and self.kind != "constant":
            by_epoch = -1 if trainer.max_epochs is None else trainer.max_epochs
            total = float(trainer.estimated_stepping_batches if self.by == "step" else by_epoch)
            if not 0 < total < math.inf:
                raise ValueError(
                    f"TemperatureSchedule(by={self.by!r}) cannot tell how many {self.by}s the training has: set "
                    f"period=..., or {'max_epochs' if self.by == 'epoch' else 'max_steps'} of the Trainer."
                )
            self._planned = max(total - self.warmup, 1.0)

    def value(self, step: int, epoch: int) -> float:
        """The temperature at this place of a fit."""
        t = (step if self.by == "step" else epoch) - self.warmup
        return scheduled(self.kind, self.start, self.end, t, self._planned or self.period or 1.0)

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """The contrast at the temperature of now."""
        if trainer.state.fn != "fit":
            return contrast
        return contrast.replace(temperature=self.value(trainer.global_step, trainer.current_epoch))


def planned_steps(trainer: Any, who: str) -> float:
    """Optimizer steps of the whole training.

    Raises:
        ValueError: where it has no end.
    """
    total = float(trainer.estimated_stepping_batches)
    if not 0 < total < math.inf:
        raise ValueError(f"{who} cannot tell which step is the last: set max_epochs or max_steps of the Trainer.")
    return total
