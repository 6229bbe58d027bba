"""Neural PG-RANK: REINFORCE on nDCG of orders drawn from Plackett and Luce's distribution."""

import itertools
import math

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.contrast import Candidates, tiles
from lightning_contrast.functional.plackett_luce import advantages, log_ranking, sampled_rankings
from lightning_contrast.objectives import PGRank
from tests.ranks import run_ranks

SCORES = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64)


def test_an_order_by_hand():
    parts = log_ranking(SCORES, torch.tensor([[[0, 1, 2]]]))[0, 0].exp()
    torch.testing.assert_close(parts, torch.tensor([0.66524, 0.73106, 1.0]).double(), atol=1e-5, rtol=0)
    assert parts.log().sum().item() == pytest.approx(-0.72087, abs=1e-5)


def test_all_orders_together_are_certain():
    orders = torch.tensor(list(itertools.permutations(range(3))))[:, None]
    assert log_ranking(SCORES, orders).sum(-1).exp().sum().item() == pytest.approx(1)


def test_orders_are_drawn_as_often_as_they_are_likely():
    orders = sampled_rankings(SCORES, 20000, torch.tensor([5]), seed=3)[:, 0]
    for order in itertools.permutations(range(3)):
        share = (orders == torch.tensor(order)).all(1).double().mean().item()
        likely = log_ranking(SCORES, torch.tensor([[order]])).sum().exp().item()
        assert share == pytest.approx(likely, abs=0.012)


@pytest.mark.parametrize("to_go", [True, False])
def test_two_candidates(to_go):
    """The gradient of the expected utility is ``sigma'(s1 - s2)``."""
    scores = torch.tensor([[0.7, -0.2]], dtype=torch.float64, requires_grad=True)
    orders = sampled_rankings(scores.detach(), 20000, torch.tensor([0]), seed=1)
    paid = advantages(torch.tensor([[1.0, 0.0]]).double(), orders, 1, to_go)
    (paid * log_ranking(scores, orders)).sum(-1).mean(0).sum().backward()
    p = 1 / (1 + math.exp(-0.9))
    assert scores.grad[0].tolist() == pytest.approx([p * (1 - p), -p * (1 - p)], abs=0.01)


def test_advantages_of_a_double_loop():
    relevance = torch.tensor([[2.0, 0.0, 1.0, 0.0]]).double()
    orders = sampled_rankings(torch.zeros(1, 4).double(), 6, torch.tensor([0]), seed=0)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    gains = [
        [float(relevance[0, c]) / math.log2(i + 2) * (i < 3) / ideal for i, c in enumerate(o)]
        for o in orders[:, 0].tolist()
    ]
    for to_go in (True, False):
        paid = advantages(relevance, orders, 3, to_go)
        for m in range(6):
            for i in range(4):
                worth = [sum(gain[i:] if to_go else gain) for gain in gains]
                baseline = (sum(worth) - worth[m]) / 5
                assert paid[m, 0, i].item() == pytest.approx(worth[m] - baseline)


def gradient(z, **how):
    z = z.clone().requires_grad_()
    PGRank(0.2, samples=8, **how)(Contrast.from_pairs(z[0], z[1])).backward()
    return z.grad


def test_tiles_draw_the_same_orders(monkeypatch):
    z = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = gradient(z)
    monkeypatch.setattr(tiles, "TILE_ENTRIES", 20)
    torch.testing.assert_close(gradient(z), whole)


def test_absent_candidates_are_never_ranked_before():
    scores = torch.tensor([[-math.inf, 0.0, 1.0]], requires_grad=True)
    orders = sampled_rankings(scores.detach(), 50, torch.tensor([0]), seed=0)
    assert (orders[..., -1] == 0).all()
    log_ranking(scores, orders).sum().backward()
    assert scores.grad.isfinite().all()


def test_a_step_improves_the_ranking():
    z = torch.randn(2, 12, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.05)
    share = lambda: (z[0] @ z[1].mT).argmax(1).eq(torch.arange(12)).float().mean().item()  # noqa: E731
    before = share()
    for _ in range(30):
        optimizer.zero_grad()
        PGRank(0.2)(Contrast.from_pairs(z[0], z[1])).backward()
        optimizer.step()
    assert share() > before + 0.4


def of_ranks(rank, world, where):
    """Gradient of one step's rows, 9 dealt out in turn, with two negatives each, a queue, and both directions."""
    z = torch.randn(4, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)[:, rank::world]
    z = z.clone().requires_grad_()
    keys = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    negatives = z[2:].transpose(0, 1)
    contrast = Contrast.from_pairs(z[0], z[1], negatives=negatives if where == "private" else negatives.flatten(0, 1))
    contrast = contrast.append(Candidates(keys, name="queue", where="replicated"))
    torch.manual_seed(rank)  # processes that have drawn different numbers
    loss = PGRank(0.5, samples=8, k=6, symmetric=True)(contrast)
    loss.backward()
    return loss.detach(), z.grad


@pytest.mark.parametrize("where", ["batch", "private"])
def test_processes_draw_the_orders_of_one(where):
    value, gradient = of_ranks(0, 1, where)
    shares = run_ranks(2, of_ranks, where)
    torch.testing.assert_close(sum(loss for loss, _ in shares) / 2, value)
    together = torch.zeros_like(gradient)
    for rank, (_, part) in enumerate(shares):
        together[:, rank::2] = part / 2
    torch.testing.assert_close(together, gradient)
    assert gradient.abs().max() > 1e-3


def test_every_call_draws_others_and_goes_on_after_a_checkpoint():
    z = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, other = PGRank(0.2, samples=8), PGRank(0.2, samples=8)
    first, second = (one(Contrast.from_pairs(z[0], z[1])) for _ in range(2))
    assert first != second
    other.load_state_dict(one.state_dict())
    contrast = Contrast.from_pairs(z[0], z[1])
    assert other(contrast) == one(contrast) != PGRank(0.2, samples=8, seed=1)(contrast)
    assert other.eval()(contrast) == other(contrast)


def test_misuse():
    with pytest.raises(ValueError, match="samples=1"):
        PGRank(samples=1)
