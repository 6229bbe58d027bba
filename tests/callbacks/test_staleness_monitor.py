"""StalenessMonitor: equal to encoding the queue's own samples again, and no trace in the training."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import MemoryBank, MemoryQueue, StalenessMonitor
from lightning_contrast.encoders import Momentum
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import assert_two_processes_train_as_one, fit, moco, simclr
from tests.modules.test_contrastive import PICTURES, loader


class Direct(pl.Callback):
    """Encodes the queue's entries, whose samples are known by index, and compares with what the queue holds."""

    def __init__(self, queue):
        self.queue, self.found = queue, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.queue.fill:
            return
        block = self.queue.block()
        with torch.no_grad():
            now = nn.functional.normalize(pl_module.project_keys(PICTURES[block.payload["index"]]), dim=1)
        drift = 1 - (nn.functional.normalize(block.z, dim=1) * now).sum(1)
        steps = self.queue.steps
        self.found.append((drift.mean().item(), drift[steps == steps.min()].mean().item()))


class Logged(pl.Callback):
    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, *args):
        values = [trainer.callback_metrics.get(f"queue/{name}") for name in ("drift", "drift_oldest")]
        if values[0] is not None:
            self.found.append(tuple(float(v) for v in values))


def plain(batch=32):
    """Both views are the picture itself, so that keys can be made again; the same batch every time."""
    items = [{"views": [PICTURES[:batch], PICTURES[:batch]], "index": torch.arange(batch)} for _ in range(4)]
    return DataLoader(items, batch_size=None)


def test_equals_encoding_the_entries_again():
    """All samples of a step are kept, every step is looked at, and the encoder draws nothing."""
    queue, logged = MemoryQueue(96), Logged()
    direct = Direct(queue)
    fit(simclr(dropout=0, key_encoder=Momentum(0.5)), [queue, direct, StalenessMonitor(sample=32), logged], steps=7,
        data=plain(), log_every_n_steps=1)  # fmt: skip
    assert len(direct.found) == len(logged.found) == 6
    for ours, theirs in zip(logged.found, direct.found, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)
    assert logged.found[-1][0] != logged.found[-1][1]


def test_standing_still_is_no_drift_whatever_dropout_does():
    module = simclr(dropout=0.5)
    module.optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    logged = Logged()
    fit(module, [MemoryQueue(64), StalenessMonitor(), logged], steps=4, log_every_n_steps=1)
    assert logged.found == [(0.0, 0.0)] * 3


def batch_norm_and_dropout():
    torch.manual_seed(0)
    layers = (nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 16))
    return ContrastiveModule(nn.Sequential(*layers), InfoNCE(0.2), key_encoder=Momentum(0.9))


@pytest.mark.parametrize("kwargs", [{"precision": "bf16-mixed"}, {"accumulate_grad_batches": 2}], ids=["bf16", "more"])
def test_training_is_left_alone(kwargs):
    states = []
    for more in ([], [StalenessMonitor(sample=4, keep=2)]):
        module = batch_norm_and_dropout()
        t = fit(module, [MemoryQueue(64), *more], steps=5, log_every_n_steps=1, **kwargs)
        states.append({**module.state_dict(), "random": torch.get_rng_state()})
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert 0 < t.callback_metrics["queue/drift"] < 2


def test_two_processes(tmp_path):
    assert_two_processes_train_as_one(
        tmp_path, moco, lambda: [MemoryQueue(64), StalenessMonitor(sample=4)], log_every_n_steps=1
    )


def test_of_a_bank_and_with_few_kept_steps():
    monitor = StalenessMonitor("bank", sample=4, keep=3)
    t = fit(simclr(), [MemoryBank(momentum=0.0), monitor], steps=12, log_every_n_steps=1, data=loader(128, 32))
    assert len(monitor._kept) <= 4
    made = [step for step, *_ in monitor._kept]
    assert made == sorted(made)
    assert made[0] <= 8, "one from before the oldest entry"
    assert 0 < t.callback_metrics["bank/drift"] < 2


def test_bad_values():
    with pytest.raises(ValueError, match="keep=1"):
        StalenessMonitor(keep=1)
    with pytest.raises(ValueError, match=r"no MemoryQueue or MemoryBank of that name; there are \['queue'\]"):
        fit(simclr(), [MemoryQueue(8), StalenessMonitor("bank")], steps=1)
