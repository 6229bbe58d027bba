"""A teacher that is the network as it was at the end of the task before."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.teacher import Teacher


class Snapshot(Teacher):
    """Copies encoder and head when a task ends: after each fit, and after every n-th epoch (continual learning).

    During the first task there is no teacher: :attr:`ready` is false, and ``TeacherEmbedding`` attaches nothing. Always in
    evaluation mode. A run resumed from a checkpoint is still in its task.

    Args:
        every_n_epochs: epochs of a task, >= 1, if several tasks make one fit; ``None``: a fit is a task.

    Raises:
        ValueError: for fewer epochs.
    """

    def __init__(self, every_n_epochs: int | None = None) -> None:
        super().__init__()
        if every_n_epochs is not None and every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs}: must be at least 1, or None for one task a fit.")
        self.every_n_epochs = every_n_epochs
        self.taken = 0
        """Tasks that have ended."""
        self._in_fit = 0

    @property
    def ready(self) -> bool:
        """Whether a task has ended."""
        return self.taken > 0

    def follow(self, online: nn.Module) -> None:
        """Room for the copy; what a task left stays."""
        if not self.ready:
            super().follow(online)
            self.train()

    def take(self, online: nn.Module) -> None:
        """The task has ended: teach what ``online`` is now."""
        super().follow(online)
        self.train()
        self.taken += 1

    def before_epoch(self, online: nn.Module, epoch: int) -> None:
        """Takes it at the border of two tasks, once, also when resumed there."""
        if self.every_n_epochs is None:
            return
        if epoch == 0:
            self._in_fit = 0
        if epoch // self.every_n_epochs > self._in_fit:
            self.take(online)
            self._in_fit = epoch // self.every_n_epochs

    def after_fit(self, online: nn.Module) -> None:
        """The fit's last task has ended."""
        self.take(online)

    def forward(self, x: Any) -> Tensor:
        """Embeddings of inputs by the network of the task before."""
        if not self.ready:
            raise RuntimeError("Snapshot: no task has ended yet, so there is no teacher; ask `ready` first.")
        return super().forward(x)

    def train(self, mode: bool = True) -> "Snapshot":
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def get_extra_state(self) -> Tensor:
        """Tasks that have ended, and those of this fit."""
        return torch.tensor([self.taken, self._in_fit])

    def set_extra_state(self, state: Tensor) -> None:
        """As saved."""
        self.taken, self._in_fit = state.tolist()
