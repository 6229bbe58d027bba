"""claif's second method, CLHAIF: soft targets by a score of each pair."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Dot
from lightning_contrast.objectives import InfoNCE, ScoredInfoNCE
from tests.objective_tester import ObjectiveTester

SCORES = (0.25, 1.0, 0.6)


def by_hand(logits, targets):
    """The score of an anchor goes by its number, which is the place of its positive."""
    score, total = SCORES[targets.index(1.0) % 3], math.log(math.fsum(map(math.exp, logits)))
    rest = (1 - score) / (len(logits) - 1)
    return math.fsum((score if t else rest) * (total - x) for x, t in zip(logits, targets, strict=True))


class TestScoredInfoNCE(ObjectiveTester):
    objective = ScoredInfoNCE
    oracle = staticmethod(by_hand)

    @classmethod
    def contrast(cls, z, label=None, **payload):
        label = torch.arange(z.shape[1]) % 3 if label is None else label
        return super().contrast(z, label, score=torch.tensor(SCORES)[label], **payload)


def one_row(logits, score):
    """One anchor, its positive first, then hard negatives, of these logits."""
    made = Contrast.from_pairs(torch.ones(1, 1).double(), logits[:1, None], score=torch.tensor([score]))
    return made.append(Candidates(logits[1:, None], name="negative"))


def test_three_candidates_by_hand():
    logits = torch.tensor([1.6, 1.0, -0.4], dtype=torch.float64)
    log_p = torch.log_softmax(logits, 0)
    for score, target in ((0.7, (0.7, 0.15, 0.15)), (1.0, (1.0, 0.0, 0.0)), (0.0, (0.0, 0.5, 0.5))):
        found = ScoredInfoNCE(1.0, Dot())(one_row(logits, score))
        assert found.item() == pytest.approx(-float(log_p @ torch.tensor(target, dtype=torch.float64)))
    assert ScoredInfoNCE(1.0, Dot())(one_row(logits, 1.0)).item() == pytest.approx(0.52126, abs=5e-6)
    assert ScoredInfoNCE(1.0, Dot(), smooth=False)(one_row(logits, 0.7)).item() == pytest.approx(
        0.7 * 0.52126, abs=5e-6
    )


def test_of_two_n_candidates_all_but_the_own_positive_share_the_rest():
    torch.manual_seed(0)
    n, tau = 4, 0.05
    z, hard = F.normalize(torch.randn(2, n, 6, dtype=torch.float64), dim=-1), torch.randn(n, 6, dtype=torch.float64)
    score = torch.rand(n, dtype=torch.float64)
    logits = z[0] @ torch.cat([z[1], F.normalize(hard, dim=-1)]).T / tau
    target = ((1 - score) / (2 * n - 1))[:, None].repeat(1, 2 * n)
    target[range(n), range(n)] = score
    found = ScoredInfoNCE(tau)(Contrast.from_pairs(z[0], z[1], negatives=hard, score=score))
    torch.testing.assert_close(found, F.cross_entropy(logits, target))


def test_a_positive_alone_costs_nothing_whatever_its_score():
    z = torch.randn(2, 3, 4).requires_grad_()
    loss = ScoredInfoNCE()(Contrast.from_pairs(z[0], z[1], in_batch=False, score=torch.tensor([0.0, 0.5, 1.0])))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert z.grad.abs().max() < 1e-5


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_scores_out_of_range(wrong):
    z = torch.randn(2, 3, 4)
    with pytest.raises(ValueError, match=r"'score' lies between .* must lie in \[0, 1\]"):
        ScoredInfoNCE()(Contrast.from_pairs(z[0], z[1], score=torch.tensor([0.5, wrong, 1.0])))


def test_no_scores_at_all():
    with pytest.raises(KeyError, match="score"):
        ScoredInfoNCE()(Contrast.from_pairs(torch.eye(2), torch.eye(2)))
    assert InfoNCE.requires == ()
    assert ScoredInfoNCE().requires == ("score",)
