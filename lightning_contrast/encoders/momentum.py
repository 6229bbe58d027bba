"""A teacher that follows the trained network by an exponential moving average."""

import math
from typing import Literal

import torch
from torch import nn

from lightning_contrast.encoders.teacher import Teacher


class Momentum(Teacher):
    """``theta_key <- m theta_key + (1 - m) theta`` after every optimizer step (He et al. 2020, eq. 2).

    It copies encoder and head when training is set up; nothing of it is trained. Buffers (BatchNorm statistics) are
    its own.

    Args:
        momentum: ``m`` at the first step, in [0, 1].
        final: ``m`` at the last step; ``None`` keeps ``momentum``. BYOL goes from 0.99 to 1.
        schedule: how it gets there, over the planned number of steps.

    Raises:
        ValueError: for a momentum outside [0, 1].
    """

    def __init__(
        self, momentum: float = 0.99, final: float | None = None, schedule: Literal["cosine", "linear"] = "cosine"
    ) -> None:
        super().__init__()
        for name, value in (("momentum", momentum), ("final", momentum if final is None else final)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: must lie in [0, 1]; 0.99 to 0.999 are usual.")
        if schedule not in ("cosine", "linear"):
            raise ValueError(f"schedule={schedule!r}: use 'cosine' or 'linear'.")
        self.momentum, self.final, self.schedule = momentum, momentum if final is None else final, schedule

    def at(self, step: int, steps: float) -> float:
        """The momentum at ``step`` of ``steps``."""
        if self.final == self.momentum or not 0 < steps < math.inf:
            return self.momentum
        done = min(step / steps, 1.0)
        share = done if self.schedule == "linear" else (1 - math.cos(math.pi * done)) / 2
        return self.momentum + (self.final - self.momentum) * share

    def after_step(self, online: nn.Module, step: int, steps: float) -> None:
        """One step, at the momentum of now."""
        self.update(online, self.at(step, steps))

    @torch.no_grad()
    def update(self, online: nn.Module, momentum: float) -> None:
        """One step towards ``online``."""
        assert self.copied is not None
        keys, ours = ([p.detach() for p in m.parameters()] for m in (self.copied, online))
        torch._foreach_lerp_(keys, ours, 1.0 - momentum)
