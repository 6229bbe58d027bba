"""Subclasses: balanced parts of every class, found anew."""

import pytest
import torch

from lightning_contrast.callbacks import Subclasses
from lightning_contrast.objectives import SBCL, SupCon
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.modules import test_contrastive
from tests.modules.test_contrastive import loader


@pytest.fixture(autouse=True)
def two_classes(monkeypatch):
    """Zeros, and nine times as many others."""
    monkeypatch.setattr(test_contrastive, "LABELS", (test_contrastive.LABELS > 0).long())


def build():
    return simclr(SBCL(0.2, 0.2), dropout=0)


def make(**kwargs):
    return [Subclasses(**{"smallest": 3, "start": 1, "every_n_epochs": 1, **kwargs})]


def test_large_classes_are_divided():
    label = torch.tensor([0] * 60 + [1] * 21 + [2] * 6)
    z = torch.randn(87, 5, generator=torch.Generator().manual_seed(0))
    subclass, ratio = Subclasses(smallest=4).divided(z, label)
    parts = [subclass[label == c].unique(return_counts=True)[1].tolist() for c in range(3)]
    assert [len(p) for p in parts] == [10, 3, 1], "as large as the smallest class, 6"
    assert parts[0] == [6] * 10
    assert parts[1] == [7] * 3
    assert len(subclass.unique()) == 14, "no subclass in two classes"
    assert (ratio[label == 2] == 1).all(), "one subclass: the temperature stays"
    assert ratio[0] != ratio[60]
    assert 0.3 < ratio.min() <= ratio.max() < 3
    coarse, _ = Subclasses(smallest=20).divided(z, label)
    assert [len(coarse[label == c].unique()) for c in range(3)] == [3, 1, 1]


def test_warm_up_is_supcon_and_then_it_is_not():
    mine, plain = Losses(), Losses()
    t = fit(build(), [*make(), mine], steps=6, log_every_n_steps=1, val=loader(32))
    fit(simclr(SupCon(0.2), dropout=0), [plain], steps=6)
    assert mine.losses[:4] == pytest.approx(plain.losses[:4], rel=1e-5)
    assert mine.losses[4] != pytest.approx(plain.losses[4], rel=1e-3)
    assert t.callback_metrics["subclasses/count"] > 5
    assert t.callback_metrics["subclasses/largest"] < 30
    assert "val/loss" in t.callback_metrics


@pytest.mark.parametrize("stop", [4, 6])
def test_resume(tmp_path, stop):
    assert_resumes_exactly(tmp_path, build, make, stop=stop, steps=9)


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, build, make, steps=6)
    assert torch.equal(one[0]["subclass"], two[0]["subclass"])


def test_misuse():
    with pytest.raises(ValueError, match="smallest=0"):
        Subclasses(smallest=0)
    with pytest.raises(ValueError, match="gives subclasses to the objective SBCL"):
        fit(simclr(SupCon(0.2)), make())
    with pytest.raises(ValueError, match="another class's"):
        Subclasses().load_state_dict({"last": 3})
