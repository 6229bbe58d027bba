"""Refresh beside the training: taken up at a fixed step, repeatable, resumable, without a trace in the training."""

import time

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import HardNegativeRefresh, MemoryQueue, Reembed
from lightning_contrast.callbacks.background import Background, Stopped, snapshot
from tests.callbacks import test_hard_negative_refresh as synchronous
from tests.callbacks.kit import (
    SaveAt,
    assert_equal_state,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.modules.test_contrastive import PICTURES
from tests.modules.test_processes import sgd


class Plain(torch.utils.data.Dataset):
    def __init__(self, draw=lambda: 0.0):
        self.draw = draw

    def __len__(self):
        return 256

    def __getitem__(self, i):
        return {"input": PICTURES[i] + self.draw(), "index": torch.tensor(i)}


class Data(synchronous.Data):
    """Training samples draw random numbers, the bank's need not."""

    def __init__(self, draw=lambda: 0.0, workers=0):
        super().__init__()
        self.draw, self.workers = draw, workers

    def bank_dataloader(self):
        return DataLoader(Plain(self.draw), batch_size=100, num_workers=self.workers)


def refresh(**kwargs):
    given = {"num_negatives": 2, "every_n_steps": 4, "asynchronous": True, "take_up_after": 3, **kwargs}
    return HardNegativeRefresh(**given)


def batch_norm():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.Linear(32, 16))
    return sgd(ContrastiveModule(encoder))


class Versions(pl.Callback):
    """The step whose weights the table in use is of, after each step."""

    def __init__(self):
        self.seen, self.tables = [], []

    def on_train_batch_end(self, trainer, *args):
        callback = next(c for c in trainer.callbacks if isinstance(c, HardNegativeRefresh))
        self.seen.append(None if callback.table is None else callback._made)
        self.tables.append(callback.table)


def test_taken_up_at_its_step_with_the_weights_of_before():
    versions = Versions()
    fit(simclr(), [refresh(), versions], steps=12, data=Data())
    # begun before steps 0, 4, 8 and taken up before steps 3, 7, 11
    assert versions.seen == [None] * 3 + [0] * 4 + [4] * 4 + [8]
    now = Versions()
    fit(simclr(), [HardNegativeRefresh(2), now], steps=1, data=Data())
    assert torch.equal(versions.tables[3], now.tables[0])


@pytest.mark.parametrize("after", [1, 2, 4])
def test_any_number_of_steps(after):
    versions = Versions()
    fit(simclr(), [refresh(take_up_after=after), versions], steps=8, data=Data())
    assert versions.seen[:8] == [None] * after + [0] * 4 + [4] * (4 - after)


def test_one_that_was_begun_is_taken_up_before_the_next():
    versions = Versions()
    fit(simclr(), [refresh(every_n_steps=None, take_up_after=100), versions], steps=9, data=Data())
    assert versions.seen == [None] * 4 + [0] * 4 + [4]


def test_however_slow_it_is():
    class Slow(HardNegativeRefresh):
        def prepare(self, data, rows, check):
            time.sleep(0.05)
            return super().prepare(data, rows, check)

    arguments = {"num_negatives": 2, "every_n_steps": 4, "asynchronous": True, "take_up_after": 3}
    results = []
    for make in (HardNegativeRefresh, Slow):
        module = simclr()
        fit(module, [make(**arguments)], steps=9, data=Data())
        results.append(torch.cat([p.flatten() for p in module.parameters()]))
    assert torch.equal(*results)


def test_training_is_left_alone():
    module, plain = batch_norm(), batch_norm()
    fit(module, [Reembed(lambda *_: None, every_n_steps=3, asynchronous=True, take_up_after=2)], steps=9, data=Data())
    fit(plain, [], steps=9, data=Data())
    for (name, a), (_, b) in zip(module.state_dict().items(), plain.state_dict().items(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("stop", [4, 5, 6, 7, 8])  # just begun, embedding, searching, taken up, begun again
@pytest.mark.parametrize("kwargs", [{}, {"gradient": True, "sampling_strategy": "random"}], ids=["plain", "gradient"])
def test_resume(tmp_path, stop, kwargs):
    callbacks = lambda: [MemoryQueue(50), refresh(**kwargs)]  # noqa: E731
    assert_resumes_exactly(tmp_path, batch_norm, callbacks, stop=stop, steps=13)


def test_a_run_that_ends_in_between_goes_on(tmp_path):
    class Keep(pl.Callback):
        def on_train_end(self, trainer, pl_module):
            trainer.save_checkpoint(path)

    path = tmp_path / "a.ckpt"
    whole, second, callbacks = batch_norm(), batch_norm(), [refresh(), refresh()]
    fit(whole, callbacks[:1], steps=9, shuffle=True)
    fit(batch_norm(), [refresh(), Keep()], steps=5, shuffle=True)
    assert torch.load(path, weights_only=True)["callbacks"]["HardNegativeRefresh"]["work"]["step"] == 4
    fit(second, callbacks[1:], steps=9, shuffle=True, ckpt=path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
    assert_equal_state(callbacks[0].state_dict(), callbacks[1].state_dict())


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(
        tmp_path, lambda: simclr(dropout=0), lambda: [refresh(take_up_after=2)], steps=7
    )
    assert torch.equal(one[0]["table"], two[0]["table"])


def test_two_processes_take_up_what_one_began(tmp_path):
    path = tmp_path / "a.ckpt"
    make = lambda: refresh(every_n_steps=5, take_up_after=4)  # noqa: E731
    fit(simclr(dropout=0), [make(), SaveAt(8, path)], steps=8)  # at an epoch's end; due at step 9
    assert torch.load(path, weights_only=True)["callbacks"]["HardNegativeRefresh"]["work"]["step"] == 5
    one, two = assert_two_processes_train_as_one(
        tmp_path, lambda: simclr(dropout=0), lambda: [make()], steps=10, ckpt=path
    )
    assert one[0]["step"] == two[0]["step"] == 5
    assert torch.equal(one[0]["table"], two[0]["table"])


def test_by_the_teacher():
    seen = {}

    def then(trainer, module, data):
        seen.update(data, expected=module.key_encoder.copied(PICTURES[data["index"]]).detach())

    fit(moco(), [Reembed(then, every_n_steps=2, space="embedding", weights="teacher")], steps=3, data=Data())
    torch.testing.assert_close(seen["z"], seen["expected"])
    torch.testing.assert_close(seen["key"], seen["expected"])


def test_what_cannot_be_copied_is_shared():
    module = simclr()
    module.factory = (x for x in ())  # as the command line's optimizer factories hold
    made = snapshot(module)
    assert made.factory is module.factory
    before = [p.clone() for p in made.parameters()]
    with torch.no_grad():
        for p in module.parameters():
            p.add_(1)
    assert all(torch.equal(a, b) for a, b in zip(before, made.parameters(), strict=True))
    assert module.training
    assert not any(m.training for m in made.modules())


# The thread -----------------------------------------------------------------------------------------------------------


def test_errors_of_the_thread_come_out_where_it_is_waited_for():
    def work(check):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Background(work).result()
    job = Background(lambda check: 3)
    assert job.result() == 3


def test_it_ends_when_it_is_no_longer_wanted():
    def work(check):
        while True:
            time.sleep(0.001)
            check()

    job = Background(work)
    job.stop()
    with pytest.raises(Stopped):
        job.result()


def test_an_error_of_the_training_ends_it():
    class Burst(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            raise RuntimeError("burst")

    callback = refresh()
    with pytest.raises(RuntimeError, match="burst"):
        fit(simclr(), [callback, Burst()], data=Data())
    assert callback._job is None


# Misuse ---------------------------------------------------------------------------------------------------------------


def test_misuse():
    import random

    import numpy as np

    for draw in (lambda: torch.rand(1), lambda: random.random(), lambda: float(np.random.rand())):
        with pytest.raises(ValueError, match="the samples draw random numbers"):
            fit(simclr(), [refresh()], data=Data(draw))
        fit(simclr(), [refresh(asynchronous=False)], steps=1, data=Data(draw))

    class Hooked(Data):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return {**batch, "input": batch["input"] * 2} if "input" in batch else batch

    with pytest.raises(ValueError, match="a batch transfer hook changes the samples"):
        fit(simclr(), [refresh()], data=Hooked())
    with pytest.raises(ValueError, match="take_up_after=5: must be at least 1, and at most every_n_steps=4"):
        refresh(take_up_after=5)
    with pytest.raises(ValueError, match=r"weights='teacher'.* needs a teacher"):
        fit(simclr(), [HardNegativeRefresh(weights="teacher")], data=Data())
    with pytest.raises(ValueError, match=r"rescore=True.* needs a teacher"):
        fit(simclr(), [HardNegativeRefresh(rescore=True)], data=Data())


def test_samples_that_draw_may_be_read_in_workers():
    fit(simclr(), [refresh(take_up_after=1)], steps=2, data=Data(lambda: torch.rand(1), workers=1))
