"""What a run costs, when it ends, and how good it is along the way."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl


class Clock(pl.Callback):
    """Seconds of processor time of every step and of all training, and memory at its peak above the start, in MB.

    First among the callbacks, so that what the others do before the first step is on it.

    Args:
        steps: planned, or None: then training ends with the first step after ``seconds``.
        seconds: planned.
        points: how often to ``look``, evenly over the plan and at its end; the clock stands still meanwhile.
        look: scores the module as it is; for no trace in the training it must see to itself.
    """

    def __init__(
        self,
        steps: int | None = None,
        seconds: float = 0.0,
        points: int = 0,
        look: Callable[[], float] | None = None,
    ) -> None:
        self.steps, self.budget, self.points, self.look = steps, seconds, points, look
        self.marks: list[float] = []
        self.curve: list[tuple[int, float, float]] = []
        """Number of the point, from 1 to ``points``, seconds and score; a long step may pass several."""
        self.seconds = self.wall = self.memory = self._held = 0.0
        self._began = self._wall_began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Here the data are read and the model is made."""
        _forget_peak()
        self._held = _status("VmRSS")
        self._began, self._wall_began = time.process_time(), time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """After every step."""
        self.marks.append(time.process_time())
        spent = self.marks[-1] - self._began
        if self.steps is None and spent >= self.budget:
            trainer.should_stop = True
            done = 1.0
        else:
            done = spent / self.budget if self.steps is None else trainer.global_step / self.steps
        point = int(min(done, 1.0) * self.points + 1e-9)
        if self.look is not None and point > (self.curve[-1][0] if self.curve else 0):
            with self._standing():
                self.curve.append((point, round(spent, 2), self.look()))

    def before(self, each: float) -> float:
        """Seconds before the first step, which itself took about ``each``; at least 0."""
        return max(0.0, self.marks[0] - self._began - each)

    @contextmanager
    def _standing(self) -> Iterator[None]:
        seconds, wall = time.process_time(), time.perf_counter()
        yield
        self._began += time.process_time() - seconds
        self._wall_began += time.perf_counter() - wall

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before anything is scored."""
        self.seconds, self.wall = time.process_time() - self._began, time.perf_counter() - self._wall_began
        self.memory = max(0.0, _status("VmHWM") - self._held)


def _status(key: str) -> float:
    """MB of this process; 0 where the system does not tell."""
    path = Path("/proc/self/status")
    if not path.is_file():
        return 0.0
    found = [line.split()[1] for line in path.read_text().splitlines() if line.startswith(f"{key}:")]
    return int(found[0]) / 1024 if found else 0.0


def _forget_peak() -> None:
    """Linux: the peak begins anew; elsewhere it stays what it was."""
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, b"5")
    except OSError:
        pass
    finally:
        os.close(descriptor)
