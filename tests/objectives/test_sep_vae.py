"""Louiset et al. 2023 (SepVAE)."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import SepVAE
from lightning_contrast.objectives.sep_vae import kl_to_normal

LABEL = torch.tensor([0, 1, 1, 0, 1])


def made(**kwargs):
    torch.manual_seed(0)
    objective = SepVAE(pixels=6, common=3, salient=2, hidden=4, **kwargs)
    objective.codes = torch.nn.Linear(4, 10)
    return objective.double()


def scene():
    torch.manual_seed(1)
    return torch.randn(5, 4, dtype=torch.float64), torch.rand(5, 6, dtype=torch.float64)


def test_the_divergence_is_that_of_the_integral():
    x = torch.linspace(-12, 12, 200001, dtype=torch.float64)
    mean, log_variance, prior = 0.7, -0.4, 0.3
    p = torch.distributions.Normal(mean, math.exp(log_variance / 2)).log_prob(x)
    q = torch.distributions.Normal(0.0, math.sqrt(prior)).log_prob(x)
    expected = torch.trapezoid(p.exp() * (p - q), x)
    found = kl_to_normal(torch.full((1, 1), mean).double(), torch.full((1, 1), log_variance).double(), prior)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    assert kl_to_normal(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0


@pytest.mark.parametrize("kappa", [0.0, 2.0])  # with 0 and gamma 0: the contrastive-analysis VAE
def test_sample_by_sample(kappa):
    gamma = 3 * kappa
    objective = made(beta_common=0.5, beta_salient=2.0, kappa=kappa, gamma=gamma, background_variance=0.04).eval()
    h, x = scene()
    rows = []
    for i, y in enumerate(LABEL.tolist()):
        mean, log = objective.codes(h[i]).split([5, 5])
        c, s = mean[:3], mean[3:]
        logits = objective.decoder(torch.cat([c, s * y]))
        recon = -(x[i] * F.logsigmoid(logits) + (1 - x[i]) * F.logsigmoid(-logits)).sum()
        prior = 1.0 if y else 0.04
        kl_c = sum(0.5 * (math.exp(v) + m**2 - 1 - v) for m, v in zip(c.tolist(), log[:3].tolist(), strict=True))
        kl_s = sum(
            0.5 * ((math.exp(v) + m**2) / prior - 1 - v + math.log(prior))
            for m, v in zip(s.tolist(), log[3:].tolist(), strict=True)
        )
        tc = objective.opponent(torch.cat([c, s])).item()  # log D / (1 - D) of a sigmoid is its logit
        guess = F.softplus((1 - 2 * y) * objective.classifier(s)).item()
        rows.append(recon.item() + 0.5 * kl_c + 2 * kl_s + kappa * tc + gamma * guess)
    found = objective(Contrast.from_pairs(h, x, label=LABEL))
    assert found.item() == pytest.approx(math.fsum(rows) / 5)


def test_its_own_loss_does_not_train_the_opponent_and_the_opponents_trains_nothing_else():
    objective, (h, x) = made().train(), scene()
    (contrast,) = objective.directions(Contrast.from_pairs(h.requires_grad_(), x, label=LABEL))
    objective.evaluate(contrast).loss.backward()
    assert all(p.grad is None for p in objective.opponent.parameters())
    assert h.grad.abs().sum() > 0
    others = [p for name, p in objective.named_parameters() if "opponent" not in name]
    for p in [h, *others]:
        p.grad = None
    objective.opponent_loss(contrast).backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.opponent.parameters())
    assert all(p.grad is None for p in [h, *others])


def learnt_ratio(c, s):
    objective = SepVAE(pixels=6, common=2, salient=2, hidden=32)
    torch.manual_seed(0)
    for m in objective.opponent:
        if hasattr(m, "reset_parameters"):
            m.reset_parameters()
    optimizer = torch.optim.Adam(objective.opponent.parameters(), lr=0.01)
    contrast = Contrast.from_pairs(c, c).attach("anchor", common=c, salient=s)
    for _ in range(150):
        optimizer.zero_grad()
        objective.opponent_loss(contrast).backward()
        optimizer.step()
    return objective.opponent(torch.cat([c, s], 1)).mean().item()


def test_the_ratio_is_near_zero_for_independent_codes_and_large_for_equal_ones():
    torch.manual_seed(0)
    c, s = torch.randn(2, 800, 2)
    assert abs(learnt_ratio(c, s)) < 0.15
    assert learnt_ratio(c, c) > 1


def test_noise_goes_by_the_sample_and_the_step():
    objective, (h, x) = made().train(), scene()
    index, order = torch.arange(5) + 7, torch.tensor([3, 0, 4, 1, 2])
    code = lambda: objective.directions(Contrast.from_pairs(h, x, label=LABEL, index=index))[0].anchors.get("common")  # noqa: E731
    one, later = code(), code()
    assert not torch.equal(one, later)
    objective.step.zero_()
    shuffled = Contrast.from_pairs(h[order], x[order], label=LABEL[order], index=index[order])
    torch.testing.assert_close(objective.directions(shuffled)[0].anchors.get("common"), one[order])
    objective.eval()
    assert torch.equal(code(), code())


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: SepVAE(kappa=-1.0), "kappa=-1.0"),
        (lambda: SepVAE(background_variance=0.0), "the variance > 0"),
        (lambda: made()(Contrast.from_pairs(scene()[0], scene()[0], label=LABEL)), "decodes pictures"),
        (lambda: made()(Contrast.from_pairs(*scene())), "label"),
    ],
)
def test_misuse(bad, message):
    with pytest.raises((ValueError, KeyError), match=message):
        bad()
