"""When to do something again: every so many steps or epochs, or when the loss stalls."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from lightning_contrast.contrast.exchange import all_sum, world_size


class Trigger:
    """Due before a batch, at most once a step or epoch; equal on all processes.

    The loss stalls when its mean over ``stall_steps`` steps is not below the lowest mean since the last time by more than
    ``stall_delta``. After that the count begins anew: harder negatives raise the loss.

    Args:
        every_n_steps: optimizer steps from one time to the next; ``None`` goes by stalls or epochs.
        every_n_epochs: epochs from one time to the next, unless by steps or stalls.
        start: the first step (by steps and stalls) or epoch.
        stall_steps: goes by stalls of the training loss, looked for over windows of so many optimizer steps.
        stall_delta: what the mean loss must fall by, >= 0.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self,
        every_n_steps: int | None = None,
        every_n_epochs: int = 1,
        start: int = 0,
        stall_steps: int | None = None,
        stall_delta: float = 0.0,
    ) -> None:
        if (every_n_steps is not None and every_n_steps < 1) or every_n_epochs < 1 or start < 0:
            raise ValueError(
                f"every_n_steps={every_n_steps}, every_n_epochs={every_n_epochs}, start={start}: the first two must be at "
                "least 1, start at least 0."
            )
        if stall_steps is not None and (stall_steps < 1 or every_n_steps is not None):
            raise ValueError(
                f"stall_steps={stall_steps}, every_n_steps={every_n_steps}: stall_steps must be at least 1, and takes the "
                "place of every_n_steps."
            )
        if not 0 <= stall_delta < math.inf:
            raise ValueError(f"stall_delta={stall_delta}: must be >= 0; 0 asks for any improvement.")
        self.every_n_steps, self.every_n_epochs, self.start = every_n_steps, every_n_epochs, start
        self.stall_steps, self.stall_delta = stall_steps, stall_delta
        self._last = -1
        self._begun, self._best, self._batches = 0, math.inf, 0
        self._sum: torch.Tensor = torch.zeros(())

    def due(self, trainer: Any) -> bool:
        """Whether it is time; asked before every batch."""
        if self.stall_steps is not None:
            if self._last < 0:
                return trainer.global_step >= self.start and self._now(trainer.global_step)
            return self._stalled(trainer.global_step) and self._now(trainer.global_step)
        now = trainer.current_epoch if self.every_n_steps is None else trainer.global_step
        every = self.every_n_steps or self.every_n_epochs
        return now != self._last and now >= self.start and (now - self.start) % every == 0 and self._now(now)

    def _now(self, when: int) -> bool:
        self._last = when
        self._begun, self._best, self._batches = when, math.inf, 0
        self._sum = torch.zeros_like(self._sum)
        return True

    def see(self, loss: torch.Tensor) -> None:
        """The loss of a batch, 0-d, on every process."""
        if self.stall_steps is not None and self._last >= 0:
            self._sum = self._sum.to(loss.device) + all_sum(loss.detach().float()) / world_size()
            self._batches += 1

    def _stalled(self, step: int) -> bool:
        assert self.stall_steps is not None
        if step - self._begun < self.stall_steps or not self._batches:
            return False
        mean = float(self._sum) / self._batches
        stalled = not mean < self._best - self.stall_delta
        self._begun, self._best, self._batches = step, min(mean, self._best), 0
        self._sum = torch.zeros_like(self._sum)
        return stalled

    def state_dict(self) -> dict[str, Any]:
        """When it was last due, and the losses since; equal on all processes."""
        state: dict[str, Any] = {"last": self._last}
        if self.stall_steps is not None:
            window = {"begun": self._begun, "best": self._best, "batches": self._batches, "sum": self._sum.clone()}
            state["window"] = window
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As saved; a run that went by something else begins a new window."""
        self._last = int(state["last"])
        window = state.get("window")
        if window is not None:
            self._begun, self._best, self._batches = window["begun"], window["best"], window["batches"]
            self._sum = window["sum"]
