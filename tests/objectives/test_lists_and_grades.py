"""dexml (2024), mw-loss (2025), sycl (2025), CoSENT (2022), AnglE (2023), CoDiEmb (2025)."""

import math

import pytest
import torch

from lightning_contrast.contrast import Candidates, Contrast, Cosine, Dot
from lightning_contrast.functional.gaussian_wasserstein import gaussian_wasserstein
from lightning_contrast.functional.graded_order import pearson, preference_order, rank_kl
from lightning_contrast.functional.pairwise_logistic import pairwise_logistic
from lightning_contrast.functional.soft_top_k import soft_top_k
from lightning_contrast.objectives import CoDiEmb, CoSENT, DecoupledSoftmax, InfoNCE, MWLoss, SoftTopK, SupCon, SyCL
from lightning_contrast.similarities import ComplexAngle
from lightning_contrast.targets import Levels, SameLabel
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import mean, softmax


def soft(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def split_row(logits, targets):
    pairs = list(zip(logits, targets, strict=True))
    return [x for x, t in pairs if t], [x for x, t in pairs if not t]


def decoupled(logits, targets):
    high, low = split_row(logits, targets)
    return math.fsum(soft(math.log(math.fsum(math.exp(n - p) for n in low))) for p in high) if high and low else None


def above(found):
    rows = [split_row(*row) for row in found]
    high, low = [p for p, _ in rows for p in p], [n for _, n in rows for n in n]
    return mean([soft(n - p) for p in high for n in low])


def first_one(logits, targets):
    """Newton's method instead of bisection."""
    t = -mean(logits)
    for _ in range(200):
        p = [1 / (1 + math.exp(-(x + t))) for x in logits]
        t -= max(-1.0, min(1.0, (math.fsum(p) - 1) / max(math.fsum(v * (1 - v) for v in p), 1e-9)))
    high, _ = split_row(logits, targets)
    return math.fsum(soft(-(x + t)) for x in high)


def distance(found):
    """By the covariances themselves, and the eigenvalues of their product."""
    x, y = (torch.tensor([softmax(row[side]) for row in found], dtype=torch.float64) for side in (0, 1))
    gap = (x.mean(0) - y.mean(0)).square().sum()
    a, b = torch.cov(x.T), torch.cov(y.T)
    values = torch.linalg.eigvals(a @ b).real
    root = values[values > 1e-12].sqrt().sum()  # the root of what rounding left of 0 is not small
    return float(gap + a.trace() + b.trace() - 2 * root)


def own_and_grade(found):
    return [(split_row(*row)[0][0], float(i % 3)) for i, row in enumerate(found)]


def ordered(found):
    x = own_and_grade(found)
    return math.log(1 + math.fsum(math.exp(b - a) for a, y in x for b, z in x if y > z))


class TestDecoupledSoftmax(ObjectiveTester):
    objective = staticmethod(lambda temperature: DecoupledSoftmax(temperature, target=SameLabel()))
    oracle = staticmethod(decoupled)
    target = "label"


class TestSoftTopK(ObjectiveTester):
    objective = staticmethod(lambda temperature: SoftTopK(1, temperature))
    oracle = staticmethod(first_one)
    ring = False


class TestMWLoss(ObjectiveTester):
    objective = MWLoss
    oracle = staticmethod(above)
    ring = False


class TestSyCL(ObjectiveTester):
    objective = staticmethod(lambda temperature: SyCL(temperature, Cosine()))
    oracle = staticmethod(distance)
    ring = False


class TestCoSENT(ObjectiveTester):
    objective = CoSENT
    oracle = staticmethod(ordered)
    ring = False

    @classmethod
    def contrast(cls, z, label=None, **payload):
        label = torch.arange(z.shape[1]) % 3 if label is None else label
        return super().contrast(z, label, score=label.to(torch.float64), **payload)


X, Y = torch.tensor([0.9, 0.2, 0.5]).double(), torch.tensor([5.0, 1.0, 3.0]).double()


def one_query(scores, positives):
    """A query with these scores, of which the first so many are its positives."""
    c = Contrast.from_pairs(torch.ones(1, 1).double(), scores[:1, None], label=torch.tensor([1]))
    label = torch.tensor([1] * (positives - 1) + [0] * (len(scores) - positives))
    return c.append(Candidates(scores[1:, None], {"label": label}, name="more", where="replicated"))


def test_dexml_worked_numbers():
    s = torch.tensor([2.0, 1.0, 0.0, -1.0]).double()
    c = one_query(s, 2)
    assert DecoupledSoftmax(1.0, Dot(), target=SameLabel())(c).item() == pytest.approx(0.57745, abs=5e-5)
    assert 2 * SupCon(1.0, similarity=Dot())(c).item() == pytest.approx(1.88038, abs=5e-5)
    assert SoftTopK(2, 1.0, Dot(), target=SameLabel())(c).item() == pytest.approx(0.67549, abs=5e-5)
    assert soft_top_k(s[None], 2).item() == pytest.approx(-0.5)
    moved = SoftTopK(2, 1.0, Dot(), target=SameLabel())(one_query(s + 3, 2))
    assert moved.item() == pytest.approx(0.67549, abs=5e-5)


def test_a_positive_does_not_move_another_ones_loss():
    s = torch.tensor([2.0, 1.0, 0.0, -1.0]).double().requires_grad_()
    alone = DecoupledSoftmax(1.0, Dot(), target=SameLabel())(one_query(s[[1, 2, 3]], 1))
    both = DecoupledSoftmax(1.0, Dot(), target=SameLabel())(one_query(s, 2))
    (one,), (two,) = torch.autograd.grad(alone, s), torch.autograd.grad(both, s)
    assert two[1].item() == pytest.approx(one[1].item())


def test_soft_top_k_tells_of_too_few():
    with pytest.raises(ValueError, match="below the number of candidates"):
        SoftTopK(2)(Contrast.from_pairs(torch.eye(2), torch.eye(2)))
    assert torch.autograd.gradcheck(lambda x: soft_top_k(x, 2), (torch.randn(3, 5).double().requires_grad_(),))


def of_scores(s):
    return Contrast.from_pairs(torch.eye(2).double(), s.mT.contiguous())


def test_mw_loss_worked_number_and_shifts():
    s = torch.tensor([[0.8, 0.1], [0.3, 0.6]]).double()
    loss, rows = MWLoss(1.0, Dot()), InfoNCE(1.0, Dot())
    assert loss(of_scores(s)).item() == pytest.approx(0.47642, abs=5e-5)
    assert loss(of_scores(s + 2)).item() == pytest.approx(0.47642, abs=5e-5)
    by_row = s + torch.tensor([[1.0], [0.0]])
    assert rows(of_scores(by_row)).item() == pytest.approx(rows(of_scores(s)).item())
    assert abs(loss(of_scores(by_row)).item() - loss(of_scores(s)).item()) > 0.01
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        high, low = torch.randn(5, generator=g), torch.randn(7, generator=g)
        auc = (high[:, None] > low).float().mean()
        assert pairwise_logistic(high, low) / math.log(2) >= 1 - auc


def test_sycl_worked_number_and_permutations():
    x, t = torch.tensor([[0.7, 0.3], [0.2, 0.8]]), torch.tensor([[0.6, 0.4], [0.4, 0.6]])
    assert gaussian_wasserstein(x, t).item() == pytest.approx(0.095, abs=1e-6)
    assert gaussian_wasserstein(x.flip(0), t).item() == pytest.approx(0.095, abs=1e-6)
    assert gaussian_wasserstein(x[:1], t[:1]).item() == pytest.approx(0.02, abs=1e-6)
    assert gaussian_wasserstein(x, x).item() == pytest.approx(0.0, abs=1e-7)
    levels = Levels(3.0, {"label": 1.0})
    c = Contrast.from_pairs(torch.eye(3), torch.eye(3), label=torch.tensor([0, 0, 1])).retarget(levels)
    assert c.scores().target.tolist() == [[3, 1, 0], [1, 3, 0], [0, 0, 3]]


def test_codiemb_worked_numbers():
    assert pearson(X, Y).item() == pytest.approx(0.003384, abs=5e-7)
    assert pearson(3 * X + 2, Y).item() == pytest.approx(pearson(X, Y).item())
    assert pearson(X, torch.ones(3)).item() == 0
    assert rank_kl(X, Y).item() == pytest.approx(0.0064137, abs=5e-8)
    assert rank_kl(X, Y.exp()).item() == rank_kl(X, Y).item()
    assert preference_order(X, Y).item() == pytest.approx(0.28210, abs=5e-6)
    a = torch.eye(3).double()
    b = torch.stack([X, (1 - X**2).sqrt()], 1)
    both = CoDiEmb(1.0)(Contrast.from_pairs(torch.tensor([[1.0, 0.0]]).double().expand(3, 2), b, score=Y))
    assert both.item() == pytest.approx(0.003384 + 0.0064137 + 0.28210, abs=1e-5)
    with pytest.raises(ValueError, match="above 0"):
        CoDiEmb(pearson=0.0, rank_kl=0.0, order=0.0)
    with pytest.raises(KeyError, match="score"):
        CoDiEmb()(Contrast.from_pairs(a, a))


def graded():
    z = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(3))
    return z, torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0, 1.0, 0.3])


def test_angle_is_a_quotient_of_complex_numbers():
    z, _ = graded()
    x, y = (torch.complex(*half.double().chunk(2, dim=-1)) for half in z)
    turned = (x / y) * y.abs().square()  # over |x| |y| as a whole, not entry by entry
    w = turned.sum(1) / (x.abs().square().sum(1) * y.abs().square().sum(1)).sqrt()
    expected = (w.real + w.imag).abs()
    found = Contrast.from_pairs(z[0].double(), z[1].double()).replace(similarity=ComplexAngle()).scores().similarity
    torch.testing.assert_close(found.diagonal(), expected)


def test_values_of_sentence_transformers():
    losses = pytest.importorskip("sentence_transformers.losses")
    util = pytest.importorskip("sentence_transformers.util")
    z, score = graded()
    for similarity, theirs in ((None, util.pairwise_cos_sim), (ComplexAngle(), util.pairwise_angle_sim)):
        loss = losses.CoSENTLoss(torch.nn.Identity(), scale=20.0, similarity_fct=theirs)
        expected = loss.compute_loss_from_embeddings(list(z), score)
        found = CoSENT(0.05, similarity)(Contrast.from_pairs(z[0], z[1], score=score))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
