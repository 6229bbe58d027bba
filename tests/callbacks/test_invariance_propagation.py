"""InvP: the walk over neighbours, what is compared, and the loss of it."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast
from lightning_contrast.callbacks import InvariancePropagation, MemoryBank
from lightning_contrast.functional.neighbour_walk import neighbour_walk
from lightning_contrast.objectives import InfoNCE, InvP
from lightning_contrast.objectives.inv_p import parts
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.modules.test_contrastive import loader
from tests.objective_tester import ObjectiveTester


class TestInvP(ObjectiveTester):
    """Without the bank's block it is InfoNCE."""

    objective = InvP
    oracle = staticmethod(
        lambda logits, targets: (
            math.log(math.fsum(map(math.exp, logits))) - math.fsum(a * b for a, b in zip(logits, targets, strict=True))
            if any(targets)
            else None
        )
    )


def unit(*shape, seed=0):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(z, dim=-1)


def walked(table, start, depth):
    """Breadth first, by sets."""
    reached, frontier = set(), {start}
    for _ in range(depth):
        frontier = {int(j) for i in frontier for j in table[i] if j >= 0}
        reached |= frontier
    return reached - {start}


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_walk_reaches_what_sets_reach(depth):
    table = torch.randint(0, 30, (30, 3), generator=torch.Generator().manual_seed(2))
    table[4] = -1  # not met yet
    start = torch.arange(30)
    found = neighbour_walk(table, start, table, depth)
    assert found.shape == (30, sum(3**i for i in range(1, depth + 1)))
    for i in range(30):
        row = [j for j in found[i].tolist() if j >= 0]
        assert len(row) == len(set(row))
        assert set(row) == walked(table.tolist(), i, depth)


def scene(background=6, positives=3, depth=2, size=20, n=4, **kwargs):
    bank, z = unit(size, 5), unit(n, 5, seed=1).requires_grad_()
    callback = InvariancePropagation(k=2, depth=depth, positives=positives, background=background, **kwargs)
    similarity = bank @ bank.mT - 9 * torch.eye(size)
    callback.table = similarity.topk(2, dim=1).indices
    index = torch.arange(n) + 3
    block, near = callback.block(z.detach(), index, bank, torch.ones(size, dtype=torch.bool))
    contrast = parts(Contrast.from_views(z[None], index=index).append(block), "propagated")
    return callback, contrast, z, bank, index, near


def by_hand(z, bank, index, near, table, background, positives, depth, tau, weight):
    rows = []
    for a, i, first in zip(z, index.tolist(), near.tolist(), strict=True):
        s = (bank @ a / tau).tolist()
        others = sorted((j for j in range(len(bank)) if j != i), key=lambda j: -s[j])
        assert first == others[:2]
        known = table.tolist()
        known[i] = first
        reached, frontier = set(), {i}
        for _ in range(depth):
            frontier = {j for f in frontier for j in (first if f == i else table[f].tolist())}
            reached |= frontier
        hard = sorted(reached - {i}, key=lambda j: s[j])[:positives]
        total = math.fsum(math.exp(s[j]) for j in others[:background])
        value = math.log(math.exp(s[i]) + total) - s[i]
        rows.append(value + weight * (math.log(total) - math.log(math.fsum(math.exp(s[j]) for j in hard))))
    return math.fsum(rows) / len(rows)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_loss_by_a_double_loop(depth):
    callback, contrast, z, bank, index, near = scene(depth=depth)
    loss = InvP(0.6, 0.3)(contrast)
    table = callback.table
    assert loss.item() == pytest.approx(by_hand(z.detach(), bank, index, near, table, 6, 3, depth, 0.3, 0.6), rel=1e-9)
    loss.backward()
    assert z.grad.isfinite().all()
    assert z.grad.norm() > 0


def test_worked_number():
    """Own s = .8, one hard positive .5, background of the same .5 and -.2, tau = 1/2: log-sum of .5 and -.2 is 1.22040."""
    bank = torch.tensor([[0.8, 0.6], [0.5, 0.75**0.5], [-0.2, 0.96**0.5]], dtype=torch.float64)
    callback = InvariancePropagation(k=1, depth=1, positives=1, background=2)
    z = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    block, near = callback.block(z, torch.tensor([0]), bank, torch.ones(3, dtype=torch.bool))
    assert near.tolist() == [[1]]
    contrast = parts(Contrast.from_views(z[None], index=torch.tensor([0])).append(block), "propagated")
    assert InvP(0.0, 0.5)(contrast).item() == pytest.approx(0.52126, abs=5e-6), "the reference of the catalogue, R"
    total = math.log(math.exp(1.0) + math.exp(-0.4))
    assert InvP(1.0, 0.5)(contrast).item() == pytest.approx(0.52126 + total - 1.0, abs=5e-6)


def test_depth_one_is_the_nearest_neighbours():
    contrast, near = (scene(depth=1, positives=2)[i] for i in (1, 5))
    block = contrast.candidates[-1]
    hard = block.get("index").masked_fill(block.get("part") != 2, -1)
    assert [sorted(j for j in row if j >= 0) for row in hard.tolist()] == [sorted(row) for row in near.tolist()]


def test_what_is_unknown_is_not_compared():
    bank, z = unit(8, 5), unit(2, 5, seed=1)
    known = torch.arange(8) < 4
    callback = InvariancePropagation(k=2, background=6, positives=3)
    block, near = callback.block(z, torch.tensor([1, 6]), bank, known)
    rows = block.get("index")
    assert set(rows[0].tolist()) <= {-1, 0, 1, 2, 3}
    assert (near < 4).all()
    assert rows[1, 0] == -1, "its own entry is not there yet"
    contrast = parts(Contrast.from_views(z[None], index=torch.tensor([1, 6])).append(block), "propagated")
    found = InvP().evaluate(InvP().prepare(contrast))
    assert (found.anchors.item(), found.left_out.item()) == (2, 0), "it has hard positives still"
    assert torch.isfinite(found.loss)


def make(**kwargs):
    return [MemoryBank(), InvariancePropagation(**{"k": 3, "positives": 5, "background": 20, **kwargs})]


def build():
    return simclr(InvP(0.6, 0.2), dropout=0)


def test_the_first_epoch_compares_views():
    mine, plain = Losses(), Losses()
    t = fit(build(), [*make(), mine], steps=8, log_every_n_steps=1, val=loader(32))
    fit(simclr(InfoNCE(0.2), dropout=0), [plain], steps=8)
    assert mine.losses[:4] == pytest.approx(plain.losses[:4], rel=1e-5)
    assert mine.contrasts[5].candidates[-1].z.shape == (64, 1 + 5 + 20, 16)
    assert t.callback_metrics["propagated/reached"] > 3
    assert "val/loss" in t.callback_metrics


@pytest.mark.parametrize("stop", [4, 6])
def test_resume(tmp_path, stop):
    assert_resumes_exactly(tmp_path, build, make, stop=stop, steps=10)


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, build, make, steps=7)
    assert torch.equal(one[1]["table"], two[1]["table"])


def test_misuse():
    for bad in ({"k": 0}, {"depth": 0}, {"positives": 0}, {"background": 2}, {"start_epoch": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
            make(**bad)
    with pytest.raises(ValueError, match="put MemoryBank"):
        fit(build(), make()[1:])
    with pytest.raises(ValueError, match="what the objective InvP reads"):
        fit(simclr(), make())
    with pytest.raises(ValueError, match="has 3 neighbours"):
        InvariancePropagation(k=4).load_state_dict(make()[1].state_dict())
    with pytest.raises(ValueError, match="weight=-1"):
        InvP(-1)
