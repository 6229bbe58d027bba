"""Hofstaetter et al. 2020 (margin-MSE), Lupart et al. 2024 (disco-conv), Barkan et al. 2020 (dse-distilled)."""

import math

import pytest
import torch

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.objectives import InfoNCE, MarginMSE, ScoreDistillation, ScoreRegression
from lightning_contrast.similarities import Cosine, Dot, Interaction
from lightning_contrast.targets import PairScore, TeacherScore, TeacherSoftmax, VectorScore
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import mean, softmax


class OfPartner(TeacherScore):
    """2 for the partner, 0.5 for everybody else."""

    def __call__(self, pair):
        return 1.5 * (pair.same("position") & ~pair.same("view")).float() + 0.5


def scores_of(targets):
    return [2.0 if t else 0.5 for t in targets]


def margins(logits, targets):
    (own,) = (x for x, t in zip(logits, targets, strict=True) if t)
    return mean([(own - x - 1.5) ** 2 for x, t in zip(logits, targets, strict=True) if not t])


def divergence(logits, targets):
    p, q = softmax([t / 0.7 for t in scores_of(targets)]), softmax(logits)
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def squares(logits, targets):
    return mean([(x - t) ** 2 for x, t in zip(logits, scores_of(targets), strict=True)])


class TestMarginMSE(ObjectiveTester):
    objective = staticmethod(lambda temperature: MarginMSE(temperature, Cosine(), OfPartner()))
    oracle = staticmethod(margins)
    ring = False


class TestScoreDistillation(ObjectiveTester):
    objective = staticmethod(lambda temperature: ScoreDistillation(temperature, 0.7, teacher=OfPartner()))
    oracle = staticmethod(divergence)
    cosine = ring = False


class TestScoreRegression(ObjectiveTester):
    objective = staticmethod(lambda temperature: ScoreRegression(temperature, teacher=OfPartner(), over="all"))
    oracle = staticmethod(squares)
    ring = False


def scene(seed=0):
    return torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_only_margins_matter():
    z = scene()
    shifted = torch.cat([z[:2], torch.ones(2, 5, 1).double()], 2)  # all inner products are larger by 1
    teacher = (z[0], z[1])
    assert MarginMSE(teacher=VectorScore(cosine=False))(
        Contrast.from_pairs(shifted[0], shifted[1], teacher=teacher)
    ).item() == pytest.approx(0, abs=1e-20)


def test_equal_scores_are_enough():
    """The space that the documents leave free is the student's own."""
    z = scene()
    documents = z[1] * torch.tensor([1.0, 1.0, 0.0, 0.0])
    student = z[0] * torch.tensor([1.0, 1.0, -3.0, 7.0])
    loss = ScoreDistillation(teacher=VectorScore(cosine=False))
    assert loss(Contrast.from_pairs(student, documents, teacher=(z[0], documents))).item() == pytest.approx(0, abs=1e-9)
    assert (student - z[0]).norm() > 1


def test_two_equal_teachers_are_one():
    z = scene()
    contrast = Contrast.from_pairs(z[0], z[1], teacher=z[2], other=z[2])
    one, two = (ScoreDistillation(teacher=VectorScore(keys)) for keys in (["teacher"], ["teacher", "other"]))
    torch.testing.assert_close(one(contrast), two(contrast))


def test_a_sure_teacher_is_infonce_with_explicit_negatives():
    z, eye = scene(), 1e3 * torch.eye(5).double()
    block = Candidates(z[2], {"teacher": torch.zeros(5, 5).double()}, name="negative")
    loss = ScoreDistillation(0.5, teacher=VectorScore(cosine=False))(
        Contrast.from_pairs(z[0], z[1], teacher=eye).append(block)
    )
    torch.testing.assert_close(loss, InfoNCE(0.5, Dot())(Contrast.from_pairs(z[0], z[1], negatives=z[2])))


def test_a_column_of_scores():
    z, score = scene(), torch.tensor([0.1, 0.9, 0.5, 0.0, 1.0]).double()
    cosine = torch.cosine_similarity(z[0], z[1])
    for over in ("own", "all"):
        found = ScoreRegression(over=over)(Contrast.from_pairs(z[0], z[1], score=score))
        torch.testing.assert_close(found, (cosine - score).square().mean())
    assert ScoreRegression().requires == ("score",)
    assert PairScore("grade").key == "grade"


def test_the_interaction_reads_both_sides():
    torch.manual_seed(0)
    z, both, even = scene(), Interaction(4, 6).double(), Interaction(4, 6, symmetric=True).double()
    pair = torch.cat([z[0, 1], z[1, 2], (z[0, 1] - z[1, 2]).abs(), z[0, 1] * z[1, 2]])
    torch.testing.assert_close(both(z[0], z[1])[1, 2], both.layers(pair)[0])
    torch.testing.assert_close(even(z[0], z[1]), even(z[1], z[0]).mT)
    assert not torch.allclose(both(z[0], z[1]), both(z[1], z[0]).mT)
    torch.testing.assert_close(both(z[0], z[1].expand(5, 5, 4)), both(z[0], z[1]))
    scored = ScoreRegression(similarity=both, teacher=VectorScore(), over="all")
    teacher = torch.nn.functional.normalize(z[2], dim=1)
    expected = (both(z[0], z[1]) - teacher @ teacher.mT).square().mean()
    torch.testing.assert_close(scored(Contrast.from_pairs(z[0], z[1], teacher=z[2])), expected)
    assert torch.autograd.gradcheck(lambda a, b, _: both(a, b), (
        z[0].requires_grad_(), z[1], both.layers[0].weight))  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: ScoreRegression(over="some"), "over='some'"),
        (lambda: VectorScore([]), r"keys=\[\]"),
        (lambda: TeacherSoftmax(0.0), "teacher temperature=0.0"),
        (lambda: Interaction(0), "dim=0"),
        (lambda: Interaction(3)(*scene()[:2]), "width 4"),
    ],
)
def test_misuse(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()
