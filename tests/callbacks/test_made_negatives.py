"""AdversarialNegatives and NoiseNegatives: candidates that are no item of the data."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.callbacks import (
    AdversarialNegatives,
    FalseNegativeFilter,
    HardnessWeighting,
    MemoryQueue,
    NoiseNegatives,
)
from lightning_contrast.callbacks.adversarial_negatives import Adversaries
from lightning_contrast.callbacks.noise_negatives import gaussian_rows
from lightning_contrast.objectives import InfoNCE, ISogCLR, SupCon
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.modules.test_contrastive import linear, loader

CPU = torch.device("cpu")


def widths(build):
    """A module whose encoder says how wide it is."""

    def made():
        module = build()
        module.encoder.output_dim = 16
        return module

    return made


adco = widths(lambda: simclr(dropout=0))


def extras(module, name="adversarial"):
    return module.extras[name].weight.detach()


def test_they_climb_where_the_encoder_descends():
    """One SGD step by hand: n + lr * scale * dL/dn."""
    module, adversary, record = adco(), AdversarialNegatives(size=12, scale=3.0), Losses()
    encoder = nn.Sequential(*module.encoder)
    before = [p.detach().clone() for p in encoder.parameters()]
    fit(module, [adversary, record], steps=1)
    start = F.normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    n = start.clone().requires_grad_()
    z = record.contrasts[0].anchors.first  # of unit length
    logit = torch.cat([z @ z.T, z @ F.normalize(n, dim=-1).T], 1) / 0.2
    logit[:, : len(z)].fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z)).roll(len(z) // 2)
    loss = F.cross_entropy(logit, partner)
    assert record.losses[0] == pytest.approx(loss.item(), rel=1e-5)
    (g,) = torch.autograd.grad(loss, n)
    torch.testing.assert_close(extras(module), start + 0.5 * 3.0 * g, rtol=1e-4, atol=1e-6)
    harder = torch.cat([z @ z.T, z @ F.normalize(extras(module), dim=-1).T], 1) / 0.2
    harder[:, : len(z)].fill_diagonal_(-torch.inf)
    assert F.cross_entropy(harder, partner) > loss
    assert any(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True)), "the encoder learns"


def test_adversaries_become_hard():
    t = fit(adco(), [AdversarialNegatives(size=8, scale=20.0)], steps=1, log_every_n_steps=1)
    start = t.callback_metrics["adversarial/similarity"].item()
    t = fit(adco(), [AdversarialNegatives(size=8, scale=20.0)], steps=30, log_every_n_steps=1)
    assert t.callback_metrics["adversarial/similarity"].item() > start + 0.2


@pytest.mark.parametrize(
    "make",
    [
        lambda: [AdversarialNegatives(size=10, scale=2.0), MemoryQueue(40)],
        lambda: [NoiseNegatives(20, ascent=2, beta=0.1), MemoryQueue(40), HardnessWeighting(0.3)],
    ],
    ids=["adversarial", "noise"],
)
def test_resume(tmp_path, make):
    assert_resumes_exactly(tmp_path, widths(simclr), make)


def with_adversaries():
    """Registered beforehand: forked children send home what the parent's module has."""
    module = adco()
    module.extras["adversarial"] = Adversaries(10, 16, 2.0, seed=0)
    return module


@pytest.mark.parametrize(
    ("build", "make"),
    [
        (with_adversaries, lambda: [AdversarialNegatives(size=10, scale=2.0)]),
        (adco, lambda: [NoiseNegatives(20, ascent=3, beta=0.5)]),
        (
            with_adversaries,
            lambda: [FalseNegativeFilter(max_score=0.95), NoiseNegatives(20), AdversarialNegatives(size=10)],
        ),
    ],
    ids=["adversarial", "noise", "both"],
)
def test_two_processes(tmp_path, build, make):
    assert_two_processes_train_as_one(tmp_path, build, make, steps=4)


@pytest.mark.parametrize("exchange", ["ring", "none"])
def test_other_exchanges(exchange):
    build = widths(lambda: simclr(dropout=0, exchange=exchange))
    fit(build(), [NoiseNegatives(6, ascent=1), AdversarialNegatives(size=4)], steps=2)


def test_the_module_loads_without_the_callback(tmp_path):
    path, module = tmp_path / "a.ckpt", adco()
    fit(module, [AdversarialNegatives(size=6), SaveAt(2, path)], steps=3)
    assert "extras.adversarial.weight" in torch.load(path, weights_only=True)["state_dict"]
    alone = ContrastiveModule.load_from_checkpoint(
        path, encoder=adco().encoder, objective=InfoNCE(0.2), weights_only=True
    )
    assert not alone.extras
    again = adco()
    t = fit(again, [AdversarialNegatives(size=6)], steps=3)
    t.validate(again, loader(32), verbose=False)


@pytest.mark.parametrize("build", [moco, lambda: simclr(SupCon(0.2))], ids=["moco", "supcon"])
def test_nobodys_labels_are_negatives(build):
    """Labels and ids of what is made up match nobody, queue or not."""
    record = Losses()
    fit(widths(build)(), [MemoryQueue(30), AdversarialNegatives(size=5), NoiseNegatives(7), record], steps=2)
    blocks = {b.name: b for b in record.contrasts[-1].candidates}
    assert (blocks["noise"].get("index") == -1).all()
    assert (blocks["adversarial"].get("label") == -1).all()
    scores = record.contrasts[-1].scores()
    made = torch.cat([torch.full((b.rows,), b.name in ("noise", "adversarial")) for b in blocks.values()])
    assert scores.exists[:, made].all()
    assert (scores.target[:, made] == 0).all()


# Noise ------------------------------------------------------------------------------------------------------------


def test_noise_is_standard_normal_and_a_function_of_seed_and_step():
    n = gaussian_rows(2000, 50, seed=1, step=3, device=CPU)
    assert n.mean().abs() < 0.02
    assert n.std().item() == pytest.approx(1, abs=0.01)
    assert (n.pow(4).mean()).item() == pytest.approx(3, abs=0.1)
    assert (n.T @ n / 2000 - torch.eye(50)).abs().max() < 0.12
    torch.testing.assert_close(gaussian_rows(2000, 50, 1, 3, CPU), n, rtol=0, atol=0)
    assert not torch.equal(gaussian_rows(2000, 50, 1, 4, CPU), n)
    torch.testing.assert_close(gaussian_rows(10, 50, 1, 3, CPU), n[:10])
    cosine = F.normalize(n, dim=1) @ F.normalize(torch.randn(50).double(), dim=0)
    assert cosine.std().item() == pytest.approx(1 / math.sqrt(50), rel=0.1)


def test_far_noise_adds_e_to_the_zero_each():
    """Unaltered noise in a wide space: the denominator grows by about its number."""
    z = F.normalize(torch.randn(2, 4, 4000, dtype=torch.float64), dim=-1)
    contrast = Contrast.from_pairs(z[0], z[1])
    noise = gaussian_rows(500, 4000, 0, 0, CPU)
    with_noise = contrast.append(NoiseNegatives()._block(contrast, noise)).replace(temperature=1.0)
    before = contrast.replace(temperature=1.0).scores().logsumexp().exp()
    torch.testing.assert_close(
        with_noise.scores().logsumexp().exp() - before, torch.full((4,), 500.0).double(), rtol=0.01, atol=0
    )


class Now:
    """As much of a Trainer as the hook reads."""

    global_step, training = 0, True


@pytest.mark.parametrize("objective", [InfoNCE(0.1), SupCon(0.1), ISogCLR(8)], ids=lambda o: type(o).__name__)
def test_ascent_raises_the_loss_and_carries_no_gradient(objective):
    torch.manual_seed(2)
    z = torch.randn(2, 8, 6, dtype=torch.float64, requires_grad=True)
    views = Contrast.from_views(z, index=torch.arange(8), label=torch.arange(8) % 3)
    (contrast,) = objective.directions(views)
    losses = []
    for ascent in (0, 1, 5, 20):
        block = NoiseNegatives(30, ascent=ascent, beta=0.05).on_contrast(Now(), None, contrast).candidates[-1]
        assert not block.first.requires_grad
        losses.append(InfoNCE(0.1).evaluate(contrast.append(block)).loss.item())
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]
    assert z.grad is None
    if isinstance(objective, ISogCLR):
        assert (objective.log_u == -torch.inf).all(), "its tables have not seen the ascent"


def test_one_step_by_hand():
    torch.manual_seed(0)
    z, y = torch.randn(2, 3, 5, dtype=torch.float64)
    contrast = Contrast.from_pairs(z, y).replace(temperature=0.5)
    n = gaussian_rows(4, 5, 0, 0, CPU).requires_grad_()
    u, v, w = (F.normalize(t, dim=-1) for t in (z, y, n))
    loss = F.cross_entropy(torch.cat([u @ v.T, u @ w.T], 1) / 0.5, torch.arange(3))
    (g,) = torch.autograd.grad(loss, n)
    expected = n.detach() + 0.2 * g / g.norm(dim=1, keepdim=True)
    found = NoiseNegatives(4, ascent=1, beta=0.2).on_contrast(Now(), None, contrast).candidates[-1].first
    torch.testing.assert_close(found, expected)


def test_evaluation_takes_the_noise_as_drawn():
    t = fit(simclr(dropout=0), [NoiseNegatives(8, ascent=3, beta=0.5)], steps=4, val=loader(32))
    assert math.isfinite(t.callback_metrics["val/loss"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdversarialNegatives(size=0), "size=0"),
        (lambda: AdversarialNegatives(scale=0), "scale=0"),
        (lambda: AdversarialNegatives(dim=0), "dim=0"),
        (lambda: NoiseNegatives(count=0), "count=0"),
        (lambda: NoiseNegatives(ascent=-1), "ascent=-1"),
        (lambda: NoiseNegatives(beta=0), "beta=0"),
        (lambda: fit(simclr(), [AdversarialNegatives()]), "give dim="),
        (lambda: fit(simclr(), [AdversarialNegatives(dim=5)]), "give dim=16"),
        (lambda: fit(simclr(), [NoiseNegatives(), NoiseNegatives()]), "both called 'noise'"),
        (lambda: fit(simclr(), [MemoryQueue(9, name="a"), AdversarialNegatives(dim=16, name="a")]), "both called 'a'"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_width_from_the_head():
    from lightning_contrast.heads import LinearHead

    module = ContrastiveModule(linear(), InfoNCE(0.2), head=LinearHead(7))
    fit(module, [AdversarialNegatives(size=3)], steps=1)
    assert extras(module).shape == (3, 7)
