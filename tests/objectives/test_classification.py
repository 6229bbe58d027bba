"""A classifier, alone and beside a contrast."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast
from lightning_contrast.objectives import Classification, InfoNCE
from lightning_contrast.regularisers import Beside, Regularised
from tests.ranks import run_ranks


def scene(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(2, n, 4, generator=g, dtype=torch.float64), torch.arange(n) % 3


def made(**kwargs: str) -> Classification:
    torch.manual_seed(1)
    objective = Classification(3, **kwargs).double()
    objective(Contrast.from_views(torch.randn(1, 3, 4).double(), **{objective.key: torch.arange(3)}))
    return objective


def test_cross_entropy_of_every_view() -> None:
    z, y = scene()
    objective = made()
    expected = F.cross_entropy(objective.linear(z.flatten(0, 1)), y.repeat(2))
    torch.testing.assert_close(objective(Contrast.from_views(z, label=y)), expected)
    pairs = objective(Contrast.from_pairs(z[0], z[1], label=y, in_batch=False))
    torch.testing.assert_close(pairs, F.cross_entropy(objective.linear(z[0]), y))


def test_mixed_views_have_their_own_label() -> None:
    z, y = scene()
    objective, other = made(), (y + 1) % 3
    expected = F.cross_entropy(objective.linear(z.flatten(0, 1)), torch.cat([y, other]))
    torch.testing.assert_close(objective(Contrast.from_views(z, label=y, mixed_label=other)), expected)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_beside_another(weight: float) -> None:
    z, y = scene()
    second = made(key="region")
    both = Regularised(InfoNCE(0.3), [Beside(second, weight)])
    assert both.requires == ("region",)
    contrast = Contrast.from_views(z, region=y)
    expected = InfoNCE(0.3)(contrast) + weight * F.cross_entropy(second.linear(z.flatten(0, 1)), y.repeat(2))
    torch.testing.assert_close(both(contrast), expected)


def _on_ranks(rank: int, world: int) -> tuple[float, torch.Tensor]:
    z, y = scene()
    objective = made()
    part = slice(0, 2) if rank == 0 else slice(2, 6)
    loss = objective(
        Contrast.from_views(z[:, part if world == 2 else slice(None)], label=y[part if world == 2 else slice(None)])
    )
    loss.backward()
    return loss.item(), objective.linear.weight.grad


def test_two_processes_are_one() -> None:
    whole, grad = _on_ranks(0, 1)
    (a, one), (b, two) = run_ranks(2, _on_ranks)
    assert (a + b) / 2 == pytest.approx(whole, rel=1e-9)
    torch.testing.assert_close((one + two) / 2, grad)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="classes=1"):
        Classification(1)
    with pytest.raises(ValueError, match="has a label 5"):
        made()(Contrast.from_views(torch.randn(1, 2, 4).double(), label=torch.tensor([0, 5])))
    with pytest.raises(KeyError, match="label"):
        made()(Contrast.from_views(torch.randn(1, 2, 4).double()))
