"""Gradients that were used make room before the next forward; those that are accumulated stay."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import ContrastiveDataset


class Gradients(pl.Callback):
    """Whether there are any: at the end of a batch, where a callback may read them, and when the next begins."""

    def __init__(self):
        self.at_end, self.at_start = [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.at_end.append(pl_module.encoder[0].weight.grad is not None)

    def on_train_batch_start(self, trainer, pl_module, *args):
        self.at_start.append(pl_module.encoder[0].weight.grad is not None)


@pytest.mark.parametrize(
    ("accumulate", "at_start"), [(1, [False, False, False, False]), (2, [False, True, False, True])]
)
def test_used_gradients_make_room(accumulate, at_start, tmp_path):
    torch.manual_seed(0)
    data = ContrastiveDataset(torch.randn(32, 6), views=lambda x: x + 0.1 * torch.randn_like(x))
    module = ContrastiveModule(nn.Sequential(nn.Linear(6, 4)), optimizer=lambda p: torch.optim.SGD(p, 0.1))
    seen = Gradients()
    pl.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accumulate_grad_batches=accumulate, callbacks=[seen], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    ).fit(module, DataLoader(data, batch_size=8))  # fmt: skip
    assert seen.at_end == [True] * 4
    assert seen.at_start == at_start
    assert module.encoder[0].weight.grad is None
