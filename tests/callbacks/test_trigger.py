"""When it is time: by steps, by epochs, by a loss that stalls."""

from types import SimpleNamespace

import pytest
import torch

from lightning_contrast.callbacks import HardNegativeRefresh, Reembed
from lightning_contrast.callbacks.trigger import Trigger
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.callbacks.test_background import Data


def run(trigger, losses, per_epoch=4):
    """Steps before which it is due."""
    out = []
    for step, loss in enumerate(losses):
        if trigger.due(SimpleNamespace(global_step=step, current_epoch=step // per_epoch)):
            out.append(step)
        trigger.see(torch.tensor(loss))
    return out


def test_by_steps_and_epochs():
    assert run(Trigger(every_n_steps=3, start=2), [0.0] * 12) == [2, 5, 8, 11]
    assert run(Trigger(), [0.0] * 12) == [0, 4, 8]
    assert run(Trigger(every_n_epochs=2, start=1), [0.0] * 16) == [4, 12]


def test_by_stalls_by_hand():
    # windows of 2 after the first, before step 0: means 4, 3, 2.9 (stalls by less than 0.2 at step 6), then anew
    losses = [4.0, 4.0, 3.0, 3.0, 2.9, 2.9, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert run(Trigger(stall_steps=2, stall_delta=0.2), losses) == [0, 6, 12]
    assert run(Trigger(stall_steps=2), losses) == [0, 8, 12]
    assert run(Trigger(stall_steps=2, start=5), [1.0] * 11) == [5, 9]


def test_a_loss_that_falls_never_stalls_and_one_that_is_no_number_does():
    assert run(Trigger(stall_steps=3), [10.0 - 0.1 * i for i in range(60)]) == [0]
    assert run(Trigger(stall_steps=3), [float("nan")] * 8) == [0, 3, 6]


def test_once_a_step_under_accumulation():
    trigger, due = Trigger(stall_steps=2), []
    for batch in range(16):
        if trigger.due(SimpleNamespace(global_step=batch // 2, current_epoch=0)):
            due.append(batch)
        trigger.see(torch.tensor(1.0))
    assert due == [0, 8]


def stalls():
    return [HardNegativeRefresh(2, stall_steps=2, stall_delta=0.05)]


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_resume(tmp_path, stop):
    before, after = assert_resumes_exactly(tmp_path, simclr, stalls, stop=stop, steps=15)
    assert before[0]._made > 0, "it stalled at least once"
    assert before[0]._made == after[0]._made


def test_two_processes_stall_together(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, lambda: simclr(dropout=0), stalls, steps=12)
    assert one[0]["step"] == two[0]["step"] > 0
    assert torch.equal(one[0]["table"], two[0]["table"])


def test_from_a_run_by_epochs():
    trigger = Trigger(stall_steps=2)
    trigger.load_state_dict(Trigger(every_n_epochs=1).state_dict())
    fit(simclr(), [Reembed(stall_steps=1)], steps=2, data=Data())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"every_n_steps": 0}, "every_n_steps=0"),
        ({"start": -1}, "start=-1"),
        ({"stall_steps": 0}, "stall_steps=0"),
        ({"stall_steps": 3, "every_n_steps": 3}, "takes the place of every_n_steps"),
        ({"stall_steps": 3, "stall_delta": -0.1}, "stall_delta=-0.1"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Trigger(**kwargs)
