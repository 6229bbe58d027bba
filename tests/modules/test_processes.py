"""Two processes train as one does on the whole batch; a resumed run is the uninterrupted one."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_contrast import ContrastiveModule
from lightning_contrast.encoders import Momentum
from lightning_contrast.heads import MLPHead
from lightning_contrast.objectives import InfoNCE, SupCon
from lightning_contrast.optim import WarmupCosine
from lightning_contrast.temperatures import Learnable
from tests.modules.test_contrastive import Digits, linear, loader, trainer, weights

CASES = {
    "simclr": lambda: ContrastiveModule(linear(), InfoNCE(0.2)),
    "supcon, learnable": lambda: ContrastiveModule(linear(), SupCon(Learnable(0.2))),
    "clip": lambda: ContrastiveModule(linear(), InfoNCE(0.1, symmetric=True), key_encoder=linear(1)),
    "momentum": lambda: ContrastiveModule(linear(), InfoNCE(0.2), key_encoder=Momentum(0.9), both_orders=True),
    "ring": lambda: ContrastiveModule(linear(), InfoNCE(0.2), exchange="ring"),
    "chunks": lambda: ContrastiveModule(linear(), InfoNCE(0.2), chunk_size=5),
}


def sgd(module):
    module.optimizer = lambda p: torch.optim.SGD(p, lr=0.5)
    return module


class InOrder(torch.utils.data.Sampler):
    """Rank r takes its share of every batch of 32, dealt out in turn as all samplers do: two processes see the batches of
    one."""

    def __init__(self, world, n=128):
        self.world, self.n = world, n

    def __len__(self):
        return self.n // self.world

    def __iter__(self):
        rank = torch.distributed.get_rank() if self.world > 1 else 0
        for start in range(0, self.n, 32):
            yield from range(start + rank, start + 32, self.world)


class Sharded(pl.LightningDataModule):
    def __init__(self, world, keys):
        super().__init__()
        self.world, self.keys = world, keys

    def train_dataloader(self):
        return DataLoader(Digits(128, self.keys), batch_size=32 // self.world, sampler=InOrder(self.world))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case):
    keys = ("anchor", "positive") if case == "clip" else ("views",)
    results = []
    for world in (1, 2):
        torch.manual_seed(0)
        module = sgd(CASES[case]())
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        t = trainer(max_steps=3, use_distributed_sampler=False, **many)
        t.fit(module, Sharded(world, keys))
        results.append(weights(module))
    start = weights(CASES[case]())
    assert (results[0] - start).abs().max() > 1e-3, "it trained"
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)


def build(**kwargs):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 16))
    return ContrastiveModule(
        encoder,
        InfoNCE(Learnable(0.2)),
        head=MLPHead(batch_norm=True),
        key_encoder=Momentum(0.9, final=1.0),
        lr_scheduler=lambda o: WarmupCosine(o),
    )


@pytest.mark.parametrize("stop", [3, 4, 6])  # in mid-epoch, on the last batch of one, in mid-epoch of the second
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, stop):
    whole, first, second = build(), build(), build()
    torch.manual_seed(1)
    trainer(max_steps=10).fit(whole, loader(128, shuffle=True))

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == stop:
                trainer.save_checkpoint(tmp_path / "a.ckpt")
                trainer.should_stop = True

    torch.manual_seed(1)
    trainer(max_steps=10, callbacks=[Stop()]).fit(first, loader(128, shuffle=True))
    torch.manual_seed(99)  # another process has other random states
    trainer(max_steps=10).fit(second, loader(128, shuffle=True), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    for (name, a), (_, b) in zip(whole.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
