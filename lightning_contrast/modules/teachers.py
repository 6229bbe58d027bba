"""The teachers of a module, and its cached encoders, told what happens."""

import lightning.pytorch as pl
from torch import nn

from lightning_contrast.encoders import Teacher
from lightning_contrast.modules.caches import begin_caches, caches


class WithTeachers(pl.LightningModule):
    """A module with an ``encoder`` and a ``head`` that teachers follow, whether key encoder or a callback's."""

    encoder: nn.Module
    head: nn.Module | None

    @property
    def teacher(self) -> Teacher | None:
        """The teacher in use: of a ``TeacherEmbedding`` callback, else the ``key_encoder`` if it is one."""
        found = self.teachers()
        return next((found[name] for name in sorted(found, key=lambda name: name == "key_encoder")), None)

    def teachers(self) -> dict[str, Teacher]:
        """All teachers by the name of their place in the module."""
        return {name: m for name, m in self.named_modules() if isinstance(m, Teacher)}

    def _online(self) -> nn.Module:
        """What teachers follow."""
        return nn.Sequential(self.encoder, *([] if self.head is None else [self.head]))

    def teachers_after_step(self) -> None:
        """After each optimizer step."""
        for teacher in self.teachers().values():
            teacher.after_step(self._online(), self.trainer.global_step, self.trainer.estimated_stepping_batches)

    def on_fit_start(self) -> None:
        """Cached encoders keep what they encode from now on."""
        begin_caches(self)  # type: ignore[arg-type]

    def on_train_epoch_start(self) -> None:
        """A teacher may change from task to task; processes exchange what they have encoded."""
        for cache in caches(self):
            cache.share(self.device)
        for teacher in self.teachers().values():
            teacher.before_epoch(self._online(), self.current_epoch)

    def on_train_end(self) -> None:
        """A fit may be a task."""
        for cache in caches(self):
            cache.end()
        for teacher in self.teachers().values():
            teacher.after_fit(self._online())
