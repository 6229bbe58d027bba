"""SelecMix: an encoder of the bias, contradicting partners, mixtures with their label."""

import math

import pytest
import torch
from torch import nn

from lightning_contrast import Contrast
from lightning_contrast.callbacks import SelecMix
from lightning_contrast.data import ColouredDataModule
from lightning_contrast.data.coloured import coloured
from lightning_contrast.functional.contradicting import contradicting_pairs
from lightning_contrast.objectives import Classification, GeneralizedSupCon
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.data.test_sources import write_small
from tests.modules.test_contrastive import loader
from tests.objective_tester import ObjectiveTester


def amplified(logits, targets):
    total = math.log(math.fsum(map(math.exp, logits)))
    logs = [x - total for x, t in zip(logits, targets, strict=True) if t]
    return -math.fsum(0.7 * math.exp(0.7 * x) * x for x in logs) / len(logs) if logs else None


class TestGeneralizedSupCon(ObjectiveTester):
    objective = GeneralizedSupCon
    oracle = staticmethod(amplified)
    setting = "views"
    target = "label"
    ring = False

    def test_gradcheck(self):
        """Not by differences, see below."""

    def test_gradient_of_a_double_loop(self):
        """By the formula: q sg[p^q] weighs the gradient of SupCon's terms, which differences do not see."""
        z = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
        y = torch.arange(5) % 2
        GeneralizedSupCon(0.7, 0.5)(Contrast.from_views(z, label=y)).backward()
        x = nn.functional.normalize(z.detach().flatten(0, 1), dim=1).requires_grad_(False)
        free = z.detach().clone().requires_grad_()
        u = nn.functional.normalize(free, dim=-1).flatten(0, 1)
        off = torch.eye(10, dtype=torch.bool)
        log_p = torch.log_softmax((u @ u.T / 0.5).masked_fill(off, -torch.inf), 1)
        same = (y.repeat(2)[:, None] == y.repeat(2)) & ~off
        weight = torch.log_softmax((x @ x.T / 0.5).masked_fill(off, -torch.inf), 1).exp() ** 0.7 * 0.7
        (-(weight * log_p.masked_fill(~same, 0)).sum(1) / same.sum(1)).mean().backward()
        torch.testing.assert_close(z.grad, free.grad)


def test_oracle_bias_gives_contradicting_pairs():
    """With the true bias as features: same class and another bias, or another class and the same bias."""
    label, bias = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 1, 0])
    z = torch.eye(2)[bias]
    at = torch.arange(6)
    same = contradicting_pairs(z @ z.T, label, label, True, at)
    assert torch.equal(label[same], label)
    assert (bias[same] != bias).all()
    other = contradicting_pairs(z @ z.T, label, label, False, at)
    assert (label[other] != label).all()
    assert torch.equal(bias[other], bias)
    alone = contradicting_pairs(z[:1] @ z[:1].T, label[:1], label[:1], True, at[:1])
    assert alone.tolist() == [0]


def test_mixtures_by_hand():
    mix = SelecMix(nn.Linear(3, 2), seed=1)
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(6, 3, generator=g), torch.randn(6, 2, generator=g)
    label, index = torch.tensor([0, 0, 0, 1, 1, 1]), torch.arange(6) + 9
    kinds = set()
    for step in range(12):
        mixed, other = mix.mixed(x, z, label, index, step)
        kinds.add(bool((other == label).all()))
        unit = nn.functional.normalize(z, dim=1)
        partner = contradicting_pairs(unit @ unit.T, label, label, bool((other == label).all()), torch.arange(6))
        assert torch.equal(other, label[partner])
        share = (mixed - x[partner])[:, 0] / (x - x[partner])[:, 0]
        assert ((share >= -1e-5) & (share < 0.5001)).all()
        torch.testing.assert_close(mixed, share[:, None] * x + (1 - share[:, None]) * x[partner])
    assert kinds == {True, False}, "either kind in half of the steps"


def build():
    module = simclr(dropout=0)
    torch.manual_seed(3)
    module.objective = Classification(10)
    module.objective(Contrast.from_views(torch.zeros(1, 2, 16), label=torch.zeros(2).long()))
    return module


def make():
    torch.manual_seed(2)
    return [SelecMix(nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 8)))]


def test_it_trains_both_and_leaves_evaluation_alone():
    (mix,), module = make(), build()
    before = mix.encoder[0].weight.clone()
    t = fit(module, [mix], steps=4, log_every_n_steps=1, val=loader(32))
    assert not torch.equal(mix.encoder[0].weight, before)
    assert t.callback_metrics["bias/loss"] > 0
    assert "val/loss" in t.callback_metrics


@pytest.mark.parametrize("stop", [4, 5])
def test_resume(tmp_path, stop):
    assert_resumes_exactly(tmp_path, build, make, stop=stop, steps=8)


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, build, make, steps=5)
    for a, b in zip(one[0]["encoder"].values(), two[0]["encoder"].values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_colours_tell_the_class_in_training_alone(tmp_path):
    data = ColouredDataModule(share=0.9, root=str(write_small(tmp_path)), val_size=10)
    data.setup()
    assert data.train_set.images.shape[1:] == (3, 28, 28)
    images, labels = torch.full((2000, 1, 2, 2), 255, dtype=torch.uint8), torch.arange(2000) % 10
    _, bias = coloured(images, labels, torch.arange(2000), 0.9)
    assert (bias == labels).float().mean().item() == pytest.approx(0.9, abs=0.03)
    painted, free = coloured(images, labels, torch.arange(2000), 0.1)
    assert (free == labels).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert len(painted[:, :, 0, 0].unique(dim=0)) == 10
    with pytest.raises(ValueError, match="share=2"):
        ColouredDataModule(share=2)


def test_misuse():
    with pytest.raises(ValueError, match="lr=0"):
        SelecMix(lr=0.0)
    with pytest.raises(ValueError, match="q=0"):
        SelecMix(q=0.0)
    with pytest.raises(ValueError, match="use it with the objective Classification"):
        fit(simclr(), make())
    with pytest.raises(ValueError, match="another class's"):
        SelecMix().load_state_dict({})
