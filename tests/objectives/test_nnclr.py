import copy
import math

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import NNCLR, InfoNCE
from lightning_contrast.objectives.support_set import SupportSet
from tests.objectives.classic_cases import samples
from tests.objectives.plain import cosine, log_sum_exp, mean
from tests.ranks import run_ranks


def test_is_the_loop():
    q, k, _ = samples(6)
    known = samples(9, seed=7)[0]
    loss = NNCLR(0.3, support=9)
    loss.support.push(known)
    neighbours = [max(known, key=lambda row, key=key: cosine(row, key)) for key in k]
    rows = []
    for i in range(6):
        logits = [cosine(neighbours[i], q[j]) / 0.3 for j in range(6)]
        rows.append(log_sum_exp(logits) - logits[i])
    assert math.isclose(loss(Contrast.from_pairs(q, k)).item(), mean(rows), rel_tol=1e-6)


def test_without_a_set_it_is_infonce_of_keys_against_predictions():
    q, k, _ = samples(6)
    value = NNCLR(0.3)(Contrast.from_pairs(q, k))
    torch.testing.assert_close(value, InfoNCE(0.3)(Contrast.from_pairs(k, q)), rtol=1e-6, atol=0)


def test_only_predictions_train():
    x, y, _ = samples(6)
    q, k = x.requires_grad_(), y.requires_grad_()
    NNCLR()(Contrast.from_pairs(q, k)).backward()
    assert q.grad.abs().sum() > 0
    assert k.grad is None


def test_keys_of_the_first_contrast_join_after_their_use_and_only_in_training():
    x, y, _ = samples(6)
    both = [Contrast.from_pairs(x, y), Contrast.from_pairs(y, x)]
    loss = NNCLR(support=10)
    first = loss(both)
    torch.testing.assert_close(first, NNCLR()(both))
    torch.testing.assert_close(loss.support.vectors, torch.nn.functional.normalize(y, dim=1).float())
    kept = copy.deepcopy(loss.support.vectors)
    loss.eval()(both)
    torch.testing.assert_close(loss.support.vectors, kept)


def test_views_are_refused():
    with pytest.raises(ValueError, match="from_pairs"):
        NNCLR()(Contrast.from_views(torch.randn(2, 4, 3)))


@pytest.mark.parametrize("chunks", [(3, 3, 3, 3), (5, 5, 2), (12,), (1,) * 12, (4, 8)])
def test_the_set_keeps_the_last_rows_whatever_the_batches(chunks):
    rows = torch.nn.functional.normalize(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    support = SupportSet(5)
    for part in rows.split(chunks):
        support.push(part)
    key = lambda t: sorted(t.tolist())  # noqa: E731
    assert key(support.vectors) == key(rows[-5:])


def test_the_oldest_give_way_after_a_round_trip_into_a_smaller_set():
    rows = torch.eye(8)
    support = SupportSet(5)
    for part in rows.split(3):
        support.push(part)
    smaller = SupportSet(3)
    smaller.load_state_dict(support.state_dict())
    assert sorted(smaller.vectors.argmax(1).tolist()) == [5, 6, 7]
    smaller.push(torch.eye(8)[:1])
    assert sorted(smaller.vectors.argmax(1).tolist()) == [0, 6, 7]


def test_look_up_in_parts_is_the_look_up(monkeypatch):
    monkeypatch.setattr("lightning_contrast.objectives.support_set.LOOKUP_ENTRIES", 20)
    support = SupportSet(9)
    support.push(samples(9, seed=7)[0])
    z = samples(7)[0].float()
    whole = support.vectors[(torch.nn.functional.normalize(z, dim=1) @ support.vectors.mT).argmax(1)]
    torch.testing.assert_close(support.nearest(z), whole)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="size=0"):
        NNCLR(support=0)
    support = SupportSet(4)
    support.push(torch.eye(3))
    with pytest.raises(ValueError, match="width"):
        support.nearest(torch.ones(1, 5))


def pushed(rank, world):
    support = SupportSet(7)
    for step in range(3):  # 5 rows a step, which do not divide 7
        rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        support.push(rows[rank::world])
    return support.vectors, support.pointer


def test_rows_of_two_processes_give_way_as_those_of_one():
    vectors, pointer = pushed(0, 1)
    for found, place in run_ranks(2, pushed):
        assert torch.equal(found, vectors)
        assert place == pointer
