"""The teacher of a distillation learns first."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.encoders import Frozen


class TrainTeacher(ContrastCallback):
    """Trains the network of a ``Frozen`` key encoder on labels before the student's first step; then it is frozen.

    For runs that have no trained teacher at hand: where there is one, load it (``Frozen(encoder=...)``) and leave this out.
    A linear classifier on the teacher's features, cross-entropy, AdamW with a falling rate, on the training samples without
    augmentation (the DataModule's ``bank_dataloader()``). Every process does the same on the same samples, and takes the
    first one's result. Once in a run: the checkpoint remembers.

    Args:
        steps: >= 1.
        classes: of the labels, >= 2.
        batch_size: >= 1.
        lr: > 0.
        seed: of batches and of the classifier.

    Raises:
        ValueError: for values out of range; at set-up without ``key_encoder=Frozen(encoder=...)`` or such data.
    """

    requires = ("label",)

    def __init__(
        self, steps: int = 400, classes: int = 10, batch_size: int = 128, lr: float = 0.001, seed: int = 0
    ) -> None:
        if min(steps, batch_size) < 1 or classes < 2 or not 0 < lr < float("inf"):
            raise ValueError(
                f"steps={steps}, classes={classes}, batch_size={batch_size}, lr={lr}: must be >= 1, >= 2, >= 1 and > 0."
            )
        self.steps, self.classes, self.batch_size, self.lr, self.seed = steps, classes, batch_size, lr, seed
        self.done = False
        self.steps_before = steps

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Looks for a teacher and for data."""
        super().setup(trainer, pl_module, stage)
        teacher = pl_module.key_encoder
        if not isinstance(teacher, Frozen) or not teacher.given:
            raise ValueError(
                "TrainTeacher trains a network of the teacher's own: give the module key_encoder=Frozen(encoder=...), got "
                f"{type(teacher).__name__}{'()' if isinstance(teacher, Frozen) else ''}."
            )
        if stage == "fit" and not hasattr(getattr(trainer, "datamodule", None), "bank_dataloader"):
            raise ValueError("TrainTeacher needs a DataModule with bank_dataloader(): samples as 'input' and 'label'.")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Trains, unless a checkpoint says that it is done."""
        if self.done:
            return
        network: nn.Module = pl_module.key_encoder.copied
        with isolated_random_state(self.seed), torch.enable_grad():
            self._train(network, trainer, pl_module.device)
        network.load_state_dict(trainer.strategy.broadcast(network.state_dict()))
        pl_module.key_encoder.freeze()
        pl_module.key_encoder.train()
        self.done = True

    def _train(self, network: nn.Module, trainer: Any, device: torch.device) -> None:
        bank = trainer.datamodule.bank_dataloader()
        wanted, size = self.steps * self.batch_size, len(bank.dataset)
        rows = torch.cat([torch.randperm(size) for _ in range(-(-wanted // size))])[:wanted]
        batches = DataLoader(Subset(bank.dataset, rows.tolist()), self.batch_size, collate_fn=bank.collate_fn)
        network.train().requires_grad_(True)
        model = nn.Sequential(network, nn.LazyLinear(self.classes, device=device))
        optimizer: torch.optim.Optimizer | None = None
        for number, batch in enumerate(batches):
            x, label = batch["input"].to(device), self._checked(batch)
            with trainer.precision_plugin.forward_context():
                loss = F.cross_entropy(model(trainer.precision_plugin.convert_input(x)).float(), label.to(device))
            if optimizer is None:  # now the classifier knows its width
                optimizer = torch.optim.AdamW(model.parameters(), self.lr)
            for group in optimizer.param_groups:
                group["lr"] = self.lr * (1 - number / self.steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.zero_grad()

    def _checked(self, batch: Mapping[str, Any]) -> Tensor:
        label: Tensor | None = batch.get("label")
        if label is None or not 0 <= int(label.min()) <= int(label.max()) < self.classes:
            has = "no labels" if label is None else f"labels from {int(label.min())} to {int(label.max())}"
            raise ValueError(f"TrainTeacher(classes={self.classes}): these data have {has}.")
        return label

    def state_dict(self) -> dict[str, Any]:
        """Whether the teacher has learnt."""
        return {"done": self.done}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved."""
        self.done = bool(state_dict["done"])
