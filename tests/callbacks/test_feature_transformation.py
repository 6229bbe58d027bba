"""FeatureTransformation: pairs apart, the queue mixed, the memory as it was."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast
from lightning_contrast.callbacks import FeatureTransformation, MemoryQueue
from lightning_contrast.contrast import Candidates
from lightning_contrast.functional.extrapolation import beta_quantile, extrapolated
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr


def unit(*shape):
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def scene(n=5, m=12):
    queue = Candidates(unit(m, 4), {"index": torch.arange(100, 100 + m)}, "queue", "replicated", True)
    return Contrast.from_pairs(unit(n, 4), unit(n, 4), in_batch=False, index=torch.arange(n)).append(queue)


@pytest.mark.parametrize(
    ("s", "share", "expected"), [(0.6, 1.5, 0.0), (0.6, 2.0, -1.0), (0.6, 1.0, 0.6), (1.0, 1.7, 1.0)]
)
def test_worked_numbers(s, share, expected):
    """``s + 2 l (1 - l) (1 - s)``, never above ``s``; the sum of a pair stays."""
    q, k = torch.tensor([[1.0, 0.0], [s, (1 - s * s) ** 0.5]], dtype=torch.float64)
    a, b = extrapolated(q, k, share)
    assert (a @ b).item() == pytest.approx(expected)
    assert (a @ b).item() == pytest.approx(s + 2 * share * (1 - share) * (1 - s))
    torch.testing.assert_close(a + b, q + k)
    if (s, share) == (0.6, 1.5):
        torch.testing.assert_close(a, torch.tensor([1.2, -0.4]).double())
        torch.testing.assert_close(b, torch.tensor([0.4, 1.2]).double())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 1.6, 2.0])
def test_draws_of_beta(alpha):
    u = (torch.arange(20000).double() + 0.5) / 20000
    x = beta_quantile(u, alpha)
    assert x.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert x.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=1e-2)
    assert (x.diff() >= 0).all()
    if alpha == 2.0:  # its distribution function is 3 x^2 - 2 x^3
        torch.testing.assert_close(3 * x**2 - 2 * x**3, u, rtol=0, atol=1e-3)


def test_what_a_step_compares():
    c = scene()
    out = FeatureTransformation().transformed(c, 3)
    q, k = c.anchors.z, c.candidates[0].z[:, 0]
    a, b = out.anchors.z, out.candidates[0].z[:, 0]
    torch.testing.assert_close(a + b, q + k)
    share = ((a - k) / (q - k)).mean()
    torch.testing.assert_close(a, share * q + (1 - share) * k)
    assert 1 < share < 2
    old, new = c.candidates[1].z, out.candidates[1].z
    assert (new.norm(dim=1) <= 1 + 1e-9).all()
    torch.testing.assert_close(new.mean(0), old.mean(0))  # one share for all: exactly
    assert not torch.allclose(new, old)
    inside = FeatureTransformation(interpolate=True, negative=None).transformed(c, 3)
    assert ((inside.anchors.z * inside.candidates[0].z[:, 0]).sum(1) > (q * k).sum(1)).all(), "together, not apart"
    assert inside.candidates[1] is c.candidates[1]
    unit_again = FeatureTransformation(renormalise=True).transformed(c, 3).anchors.z
    torch.testing.assert_close(unit_again, F.normalize(a, dim=1))


def test_loss_by_hand_and_gradients():
    c = scene()
    z = c.anchors.z.clone().requires_grad_()
    key = c.candidates[0].z.clone().requires_grad_()
    c = c.replace(anchors=c.anchors.replace(z=z), candidates=(c.candidates[0].replace(z=key), c.candidates[1]))
    out = FeatureTransformation().transformed(c, 0)
    loss = InfoNCE(0.3)(out)
    a, b, n = out.anchors.z, out.candidates[0].z[:, 0], out.candidates[1].z
    logit = torch.cat([(a * b).sum(1, keepdim=True), a @ n.T], 1) / 0.3
    torch.testing.assert_close(loss, (logit.logsumexp(1) - logit[:, 0]).mean())
    loss.backward()
    assert z.grad.norm() > 0
    assert key.grad is None, "keys are constants"


def test_elementwise_draws_belong_to_samples():
    c = scene()
    out = FeatureTransformation(elementwise=True).transformed(c, 3)
    share = (out.anchors.z - c.candidates[0].z[:, 0]) / (c.anchors.z - c.candidates[0].z[:, 0])
    assert ((share > 1) & (share < 2)).all()
    assert share.var() > 0.01
    part = c.replace(
        anchors=c.anchors.map(lambda t: t[2:]),
        candidates=(c.candidates[0].map(lambda t: t[2:]), c.candidates[1]),
    )
    torch.testing.assert_close(
        FeatureTransformation(elementwise=True).transformed(part, 3).anchors.z, out.anchors.z[2:]
    )


def test_the_memory_stores_the_keys_as_they_were():
    plain, changed = MemoryQueue(64), MemoryQueue(64)
    fit(moco(), [plain], steps=1)
    t = fit(moco(), [changed, FeatureTransformation()], steps=1, log_every_n_steps=1)
    assert torch.equal(plain.block().z, changed.block().z)
    assert set(plain.block().payload) == set(changed.block().payload)
    assert "transformed/positive" in t.callback_metrics


def test_harder_positives_cost_more():
    plain, apart = Losses(), Losses()
    fit(moco(), [MemoryQueue(64), plain], steps=2)
    fit(moco(), [MemoryQueue(64), FeatureTransformation(negative=None), apart], steps=2)
    assert apart.losses[0] == pytest.approx(plain.losses[0]), "the positive alone: 0"
    assert apart.losses[1] > plain.losses[1]


def parts():
    return [MemoryQueue(100), FeatureTransformation(elementwise=True)]


def test_resume(tmp_path):
    assert_resumes_exactly(tmp_path, moco, parts)


def test_two_processes(tmp_path):
    assert_two_processes_train_as_one(tmp_path, moco, lambda: [MemoryQueue(96), FeatureTransformation()], steps=4)


def test_misuse():
    for name in ("positive", "negative"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            FeatureTransformation(**{name: 0.0})
    with pytest.raises(ValueError, match="no callback before it appends"):
        fit(moco(), [FeatureTransformation(), MemoryQueue()])
    with pytest.raises(ValueError, match="all views with all views"):
        fit(simclr(), [FeatureTransformation(negative=None)])
    with pytest.raises(ValueError, match="alpha=-1"):
        beta_quantile(torch.rand(3), -1.0)
