"""What every callback must hold: a resumed run is the uninterrupted one, two processes train as one."""

import lightning.pytorch as pl
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.encoders import Momentum
from lightning_contrast.objectives import InfoNCE
from tests.modules.test_contrastive import linear, loader, trainer, weights
from tests.modules.test_processes import Sharded, sgd


def moco(**kwargs):
    torch.manual_seed(0)
    given = {"key_encoder": Momentum(0.9), "in_batch": False, **kwargs}
    objective = given.pop("objective", None) or InfoNCE(0.2)
    return sgd(ContrastiveModule(linear(), objective, **given))


def simclr(objective=None, dropout=0.2, **kwargs):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 32), nn.Dropout(dropout), nn.Tanh(), nn.Linear(32, 16))
    return sgd(ContrastiveModule(encoder, objective or InfoNCE(0.2), **kwargs))


class Losses(pl.Callback):
    """Loss and contrast of every direction."""

    def __init__(self):
        self.losses, self.contrasts = [], []

    def on_contrast_end(self, trainer, pl_module, contrast, loss):
        self.losses.append(loss.item())
        self.contrasts.append(copied(contrast))


def copied(contrast):
    """Queues are views of what is overwritten later."""
    return contrast.replace(candidates=tuple(b.map(torch.clone) for b in contrast.candidates))


class SaveAt(pl.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step and not self.path.exists():
            trainer.save_checkpoint(self.path)


def fit(module, callbacks=(), steps=4, ckpt=None, n=128, shuffle=False, data=None, val=None, seed=1, **kwargs):
    torch.manual_seed(seed)
    t = trainer(max_steps=steps, callbacks=list(callbacks), **kwargs)
    if isinstance(data, pl.LightningDataModule):
        t.fit(module, datamodule=data, ckpt_path=ckpt, weights_only=True)
    else:
        t.fit(module, loader(n, shuffle=shuffle) if data is None else data, val, ckpt_path=ckpt, weights_only=True)
    return t


def assert_resumes_exactly(tmp_path, build, callbacks, stop=5, steps=9, **kwargs):
    """``build`` makes the module, ``callbacks`` the list of callbacks; stops in mid-epoch (4 batches an epoch)."""
    path = tmp_path / "a.ckpt"
    whole, again = build(), build()
    before, after = callbacks(), callbacks()
    fit(whole, [*before, SaveAt(stop, path)], steps, shuffle=True, **kwargs)
    fit(again, after, steps, ckpt=path, shuffle=True, seed=77, **kwargs)
    for (name, a), (_, b) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    for one, two in zip(before, after, strict=True):
        assert_equal_state(one.state_dict(), two.state_dict())
    return before, after


def assert_equal_state(a, b, where="state"):
    if isinstance(a, torch.Tensor):
        if a.is_floating_point():  # no number equals no number
            a, b = a.nan_to_num(nan=1e30), b.nan_to_num(nan=1e30)
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal_state(a[key], b[key], f"{where}[{key!r}]")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal_state(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


class KeepState(pl.Callback):
    """Brings a callback's state home from a forked process."""

    def __init__(self, path):
        self.path = path

    def on_train_end(self, trainer, pl_module):
        states = [
            c.state_dict() for c in trainer.callbacks if type(c).__module__.startswith("lightning_contrast.callb")
        ]
        torch.save(states, f"{self.path}-{trainer.global_rank}.pt")


def assert_two_processes_train_as_one(tmp_path, build, callbacks, steps=6, tolerance=1e-5, keys=("views",), **kwargs):
    results, states = [], []
    for world in (1, 2):
        module = build()
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        keep = KeepState(tmp_path / str(world))
        data = Sharded(world, keys)
        fit(module, [*callbacks(), keep], steps, data=data, use_distributed_sampler=False, **many, **kwargs)
        results.append(weights(module))
        states.append([torch.load(f"{keep.path}-{rank}.pt", weights_only=True) for rank in range(world)])
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=tolerance)
    assert_equal_state(states[1][0], states[1][1], "ranks")
    return states[0][0], states[1][0]
