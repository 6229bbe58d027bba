"""The base of our callbacks: two more hooks, and the checks that belong to set-up."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import lightning.pytorch as pl
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast


class ContrastCallback(pl.Callback):
    """A Lightning callback that also sees what is compared.

    The hooks are called by :class:`~lightning_contrast.modules.ContrastiveModule` on every callback that has them, in the
    Trainer's order. What a callback trains goes into ``pl_module.extras[name]`` in :meth:`setup`; its memories belong into
    its own ``state_dict``, made of tensors, numbers, strings, lists and dicts.
    """

    requires: ClassVar[tuple[str, ...]] = ()
    """What it learns from beside the inputs, such as ``label``, be it only to leave negatives out; of an instance, by its
    settings. What it only logs does not count."""
    reads_vectors: ClassVar[bool] = True
    """Whether :meth:`on_contrast_end` takes a row to be one vector; ``False`` where tokens with their mask will do."""
    steps_before: int = 0
    """Optimizer steps of its own before the module's first one, such as a teacher's; comparisons count them."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Refuses modules that never call the hooks; subclasses check the rest here, before anything is trained."""
        require_contrastive(self, pl_module)

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Before the objective scores a direction, in training and evaluation.

        Args:
            trainer: the Trainer.
            pl_module: the module.
            contrast: the rows of this process, similarity and temperature filled in. Immutable.

        Returns:
            What is to be compared instead; returning ``contrast`` itself changes nothing.
        """
        return contrast

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """After backward, once a micro-batch and direction, in training only: memories are updated here.

        Args:
            trainer: the Trainer.
            pl_module: the module.
            contrast: what was scored: rows of all processes, prepared by the similarity (of unit length under cosine),
                without gradients, the objective's per-anchor figures in the anchors' payload.
            loss: of this direction, 0-d, detached.
        """


def require_contrastive(callback: pl.Callback, pl_module: pl.LightningModule) -> None:
    """Only a ``ContrastiveModule`` calls the hooks; anywhere else a callback would do nothing without a word.

    Raises:
        TypeError: for another module.
    """
    # Told by its parts: modules and callbacks live on one floor and do not import each other.
    parts = ("objective", "embed", "contrast", "extras")
    if not all(hasattr(pl_module, part) for part in parts) or not isinstance(pl_module.extras, nn.ModuleDict):
        raise TypeError(
            f"{type(callback).__name__} needs a ContrastiveModule, whose training step calls on_contrast; "
            f"{type(pl_module).__name__} is none. Subclass ContrastiveModule (override embed or contrast), or remove "
            "the callback."
        )


def require_state(state_dict: Mapping[str, Any], keys: Iterable[str], who: str) -> None:
    """A callback's state in a checkpoint must have these keys.

    Raises:
        ValueError: naming those it lacks.
    """
    absent = set(keys) - set(state_dict)
    if absent:
        raise ValueError(
            f"{who}: the checkpoint's state lacks {sorted(absent)}, so it is truncated or another class's."
        )


def refuse_twins(callback: pl.Callback, trainer: pl.Trainer, name: str, remedy: str) -> None:
    """Two callbacks under one name would overwrite each other's state and logs.

    Raises:
        ValueError: naming both.
    """
    for other in trainer.callbacks:  # type: ignore[attr-defined]
        if other is not callback and getattr(other, "name", None) == name and isinstance(other, ContrastCallback):
            raise ValueError(f"{type(other).__name__} and {type(callback).__name__} are both called {name!r}: {remedy}")


def logs_now(trainer: Any) -> bool:
    """Whether the Trainer logs at this training step; the first step counts, so that short runs leave something."""
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step == 0 or (step + 1) % max(1, trainer.log_every_n_steps) == 0
