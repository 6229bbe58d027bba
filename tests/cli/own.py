import copy
import pickle
from typing import Any

import lightning.pytorch as pl
import torch

from lightning_contrast import ContrastiveModule


class Shout(ContrastiveModule):
    """A user's subclass."""

    def __init__(self, *args: Any, loud: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loud = loud


class Copies(pl.Callback):
    """In mid-training the module is copied, and sent as to another process."""

    def on_train_batch_end(self, trainer, pl_module, *args):
        copied = copy.deepcopy(pl_module)
        sent = pickle.loads(pickle.dumps((pl_module.optimizer, pl_module.lr_scheduler)))
        for make in (copied.optimizer, sent[0]):
            (group,) = make([torch.nn.Parameter(torch.zeros(1))]).param_groups
            assert (group["lr"], group["weight_decay"]) == (0.003, 0.5)
        assert type(sent[1](copied.optimizer([torch.nn.Parameter(torch.zeros(1))]))).__name__ == "WarmupCosine"
        assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), pl_module.parameters(), strict=True))
        assert copied._trainer is None
