"""What a teacher thinks of each sample travels with it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, refuse_twins
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.encoders import Teacher


class TeacherEmbedding(ContrastCallback):
    """The teacher's embedding of each sample is payload, ``[N, D]``, of anchors and candidates of the batch.

    Whoever compares with the teacher reads it: a target or rule by ``pair.dot("teacher")``, ``FalseNegativeFilter`` by
    ``teacher_key``, a queue stores it with ``payload=["index", "teacher"]``. Of a pair each side has its own; of several
    views the first is embedded, for all. The teacher is part of the module (``module.teacher``), so that it is saved and
    moved with it. While it has nothing to teach (``Snapshot`` in the first task), nothing is attached.

    Args:
        teacher: ``Frozen``, ``Momentum``, ``Snapshot``, ``Precomputed``; ``None`` is the module's ``key_encoder``.
        name: of the payload.

    Raises:
        ValueError: at set-up without a teacher, or for a name twice.
    """

    def __init__(self, teacher: Teacher | None = None, name: str = "teacher") -> None:
        self.teacher, self.name = teacher, name
        self._vectors: Tensor | None = None

    @property
    def attaches(self) -> bool:
        """Whether this batch's samples have the teacher's vectors."""
        return self._vectors is not None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Makes the teacher part of the module."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        if self.teacher is None:
            if not isinstance(pl_module.key_encoder, Teacher):
                raise ValueError(
                    "TeacherEmbedding has no teacher: give teacher=Momentum(), Frozen(), Snapshot() or Precomputed(...), "
                    "or the module a key_encoder that is one."
                )
        elif not any(held is self.teacher for held in pl_module.extras.values()):  # else a second fit
            self.teacher.follow(pl_module._online())
            pl_module.extras[self.name] = self.teacher

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Asks the teacher."""
        self._ask(pl_module, batch)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """As in training."""
        self._ask(pl_module, batch)

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """As in training."""
        self._ask(pl_module, batch)

    def _ask(self, pl_module: Any, batch: Mapping[str, Any]) -> None:
        teacher: Teacher = self.teacher or pl_module.key_encoder
        self._vectors = None
        if not teacher.ready:
            return
        inputs = list(batch_inputs(batch).values())
        sides = inputs[:1] if "views" in batch else inputs[:2]
        with pl_module.trainer.precision_plugin.forward_context():
            self._vectors = torch.stack([teacher.embed(x, batch.get("index")) for x in sides]).float()

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Attaches the vectors by position."""
        return contrast if self._vectors is None else contrast.map_own(self._attached)

    def _attached(self, block: Candidates) -> Candidates:
        assert self._vectors is not None
        position = block.get("position")
        if position.numel() and not 0 <= int(position.min()) <= int(position.max()) < self._vectors.shape[1]:
            raise ValueError(
                f"TeacherEmbedding: block {block.name!r} has positions {int(position.min())} to {int(position.max())}, but "
                f"the batch {self._vectors.shape[1]} samples: build the contrast with from_views or from_pairs."
            )
        side = block.get("view").clamp(0, len(self._vectors) - 1)
        return block.attach(**{self.name: self._vectors[side, position]})
