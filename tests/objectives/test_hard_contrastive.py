"""Wang and Liu 2021: the hardness of negatives, and the loss that keeps the hardest alone."""

import functools
import math

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.functional.hardness import score_distribution
from lightning_contrast.objectives import HardContrastive, InfoNCE
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import lse, mean, on_circle, softmax


def hardest(share: float, logits: list[float], targets: list[float]) -> float | None:
    near = [x for x, t in zip(logits, targets, strict=True) if t > 0]
    far = sorted(x for x, t in zip(logits, targets, strict=True) if t <= 0)[::-1]
    if not near:
        return None
    return lse(near + far[: max(1, math.ceil(share * len(far) - 1e-9))]) - mean(near)


class TestHardContrastive(ObjectiveTester):
    objective = functools.partial(HardContrastive, share=0.4)
    oracle = staticmethod(functools.partial(hardest, 0.4))
    setting = "views"
    ring = False


def test_worked_numbers() -> None:
    c = on_circle([0.8, 0.5, -0.2])
    assert HardContrastive(0.5, share=0.5)(c).item() == pytest.approx(0.43749, abs=5e-6)
    assert HardContrastive(0.5, share=1.0)(c).item() == pytest.approx(0.52126, abs=5e-6)
    assert HardContrastive(0.5, share=0.01)(c).item() == pytest.approx(0.43749, abs=5e-6), "one at least"
    assert softmax([0.5 / 0.5, -0.2 / 0.5]) == pytest.approx([0.80218, 0.19782], abs=5e-6)


@pytest.mark.parametrize(("tau", "harder"), [(0.1, 0.9975), (0.5, 0.7685)])
def test_gradient_shares(tau: float, harder: float) -> None:
    """Of similarities 0.8 and 0.2: by autograd, by the metric, by hand."""
    c = on_circle([0.9, 0.8, 0.2])
    z = torch.cat([b.first for b in c.candidates])
    leaf = torch.tensor([0.9, 0.8, 0.2], dtype=torch.float64, requires_grad=True)
    loss = torch.logsumexp(leaf / tau, 0) - leaf[0] / tau
    assert loss.item() == pytest.approx(InfoNCE(tau)(c).item())
    (grad,) = torch.autograd.grad(loss, leaf)
    assert grad.sum().item() == pytest.approx(0, abs=1e-12)
    assert (grad[1] / grad[1:].sum()).item() == pytest.approx(harder, abs=5e-5)
    groups = torch.tensor([0, 1, 2])
    found = score_distribution(c.anchors.first, z[1:], groups[:1], groups[1:], temperature=tau, bins=4)
    assert found.gradient_share[3].item() == pytest.approx(harder, abs=5e-5)
    assert found.effective_negatives.item() == pytest.approx(
        math.exp(-sum(p * math.log(p) for p in softmax([0.8 / tau, 0.2 / tau]))), rel=1e-5
    )


def test_shares_even_out_as_the_temperature_rises() -> None:
    z = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(20)
    found = [
        score_distribution(z, z, ids, ids, anchor_ids=ids, candidate_ids=ids, temperature=t).effective_negatives.item()
        for t in (0.07, 0.2, 0.5, 1.0, 1e4)
    ]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(19, rel=1e-4)


def test_easy_negatives_get_no_gradient() -> None:
    z = torch.tensor([[0.8], [0.7], [0.5], [-0.2]], dtype=torch.float64, requires_grad=True)
    c = Contrast.from_pairs(torch.ones(1, 1, dtype=torch.float64), z[:1], negatives=z[1:])
    from lightning_contrast.contrast import Dot

    HardContrastive(0.5, share=0.6, similarity=Dot())(c).backward()
    assert (z.grad.flatten() != 0).tolist() == [True, True, True, False]


def test_bad_share() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ValueError, match="share="):
            HardContrastive(share=share)
