"""What follows an optimizer step: teachers and temperatures move, gradients make room."""

from typing import Any

from lightning_contrast.modules.checks import warn_of_untrained
from lightning_contrast.modules.teachers import WithTeachers
from lightning_contrast.temperatures import TemperatureModule


class WithSteps(WithTeachers):
    """A module whose teachers and temperatures follow each step, and whose gradients do not outlive it."""

    _stepped = False

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The step, and at once what follows it: checkpoints written later in the step already hold it."""
        super().optimizer_step(*args, **kwargs)
        self.after_optimizer_step()
        self._stepped = True

    def after_optimizer_step(self) -> None:
        """Teachers and temperatures follow the step."""
        self.teachers_after_step()
        for module in [m for m in self.modules() if isinstance(m, TemperatureModule)]:
            module.after_step()
        warn_of_untrained(self)  # type: ignore[arg-type]

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Clears gradients that were used, after callbacks had the chance to read them.

        Lightning clears them between the next forward and its backward: they would lie beside its activations, as large as
        the parameters. Gradients that are still accumulated stay.
        """
        if self._stepped:
            self._stepped = False
            for optimizer in self.trainer.optimizers:
                optimizer.zero_grad()
