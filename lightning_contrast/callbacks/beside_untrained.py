"""What evaluations at every validation share: the figures of now, beside those of the encoder before training."""

from typing import Any

import lightning.pytorch as pl

from lightning_contrast.callbacks.callback import ContrastCallback


class BesideUntrained(ContrastCallback):
    """Logs ``val/NAME`` of :meth:`scores`, beside ``val/NAME_untrained`` and :meth:`others`, which are found once.

    Args:
        every_n_epochs: at the validations of every n-th epoch.

    Raises:
        ValueError: for a number out of range.
    """

    shown: str
    """The figure beside the progress bar."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        if every_n_epochs < 1:
            raise ValueError(f"every_n_epochs={every_n_epochs}: must be at least 1.")
        self.every_n_epochs = every_n_epochs
        self.beside: dict[str, float] = {}
        """What the figures are compared with, by the name under which it is logged."""

    def scores(self, trainer: Any, pl_module: Any) -> dict[str, float]:
        """Figures by name, with the weights of now; the same on all processes."""
        raise NotImplementedError

    def others(self, trainer: Any) -> dict[str, float]:
        """More to compare with, by the name under which it is logged; asked on the first process alone."""
        return {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Scores what the training is compared with; a resumed run has it from its checkpoint."""
        if self.beside:
            return
        self.beside = {f"val/{name}_untrained": value for name, value in self.scores(trainer, pl_module).items()}
        self.beside |= trainer.strategy.broadcast(self.others(trainer) if trainer.is_global_zero else {})

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Scores the encoder of now."""
        fits = trainer.state.fn == "fit" and not trainer.sanity_checking
        if not fits or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        now = {f"val/{name}": value for name, value in self.scores(trainer, pl_module).items()}
        for name, value in {**now, **self.beside}.items():
            pl_module.log(name, value, prog_bar=name == f"val/{self.shown}")

    def state_dict(self) -> dict[str, Any]:
        """What was found before the first step."""
        return {"beside": self.beside}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it back."""
        self.beside = dict(state_dict["beside"])
