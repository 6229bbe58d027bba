"""Tian et al. 2020 (CRD), Fang et al. 2021 (similarity distillation), Chen et al. 2021 (wcord)."""

import math

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import MemoryBank, TrainTeacher
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.data import DigitsDataModule
from lightning_contrast.encoders import Frozen, MLPEncoder, Momentum
from lightning_contrast.heads import LinearHead
from lightning_contrast.objectives import CRD, SigLIP, SimilarityDistillation
from lightning_contrast.regularisers import CrossEntropy, Regularised, TransportMatching
from lightning_contrast.regularisers.transport_matching import transport_plan
from lightning_contrast.similarities import LipschitzBilinear
from lightning_contrast.targets import TeacherSimilarity
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, sgd
from tests.modules.test_contrastive import linear, weights
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import dot, mean, units


def softplus(x: float) -> float:
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def crd_row(logits: list[float], targets: list[float]) -> float | None:
    """h = e^l / (e^l + M / 20)."""
    if not any(targets):
        return None
    share = max(1, sum(not t for t in targets)) / 20
    h = [math.exp(x) / (math.exp(x) + share) for x in logits]
    return -math.fsum(math.log(x if t else 1 - x) for x, t in zip(h, targets, strict=True))


class TestCRD(ObjectiveTester):
    objective = staticmethod(lambda temperature: CRD(temperature, samples=20))
    oracle = staticmethod(crd_row)


def scene(n: int = 5, d: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    s, t = torch.randn(2, n, d, generator=g, dtype=torch.float64)
    return s, t


def test_one_negative_and_equal_scores_give_a_half() -> None:
    equal = Contrast.from_pairs(torch.zeros(2, 3), torch.zeros(2, 3))
    assert CRD(samples=1)(equal).item() == pytest.approx(2 * math.log(2))


def test_the_first_training_batch_fixes_the_normaliser() -> None:
    s, t = scene()
    bank = Candidates(scene(7, seed=1)[1], name="bank", where="replicated")
    objective, contrast = CRD(0.5).double(), Contrast.from_pairs(s, t)
    objective.eval()(contrast)
    assert objective.offset.isnan(), "evaluation fixes nothing"
    objective.train()(contrast)
    l = torch.cosine_similarity(s[:, None], t, dim=-1) / 0.5  # noqa: E741
    z = l.exp().mean()
    assert objective.offset.item() == pytest.approx(z.log().item())
    again = objective(contrast.append(bank))
    l = torch.cosine_similarity(s[:, None], torch.cat([t, bank.first]), dim=-1) / 0.5  # noqa: E741
    ratio = l.exp() / z
    h = ratio / (ratio + 11)  # 4 of the batch and 7 of the bank
    yes = torch.eye(5, 12, dtype=torch.bool)
    torch.testing.assert_close(again, -torch.where(yes, h, 1 - h).log().sum(1).mean())
    other = CRD(0.5).double()
    other.load_state_dict(objective.state_dict())
    assert other(Contrast.from_pairs(*scene(seed=3))).item() == objective(Contrast.from_pairs(*scene(seed=3))).item()


def test_the_teacher_is_projected_and_the_projector_learns() -> None:
    s, t = scene()
    torch.manual_seed(0)
    objective = CRD(0.5, samples=9, projector=LinearHead(3)).double()
    wide = torch.cat([t, t], 1)
    loss = objective(Contrast.from_pairs(s, wide))
    loss.backward()
    alone = CRD(0.5, samples=9)(Contrast.from_pairs(s, objective.projector(wide)))
    torch.testing.assert_close(loss, alone)
    assert objective.projector.linear.weight.grad.abs().sum() > 0


def test_similarity_distillation_by_loops() -> None:
    s, t = scene()
    queue = scene(4, seed=1)[1]
    block = Candidates(queue, {"teacher": queue}, name="queue", where="replicated")
    u, v = units(s[None])[0], units(torch.cat([t, queue])[None])[0]
    rows = []
    for i in range(5):
        p = [math.exp(dot(v[i], c) / 0.1) for c in v]
        q = [math.exp(dot(u[i], c) / 0.3) for c in v]
        rows.append(
            math.fsum(
                a / math.fsum(p) * math.log((a / math.fsum(p)) / (b / math.fsum(q))) for a, b in zip(p, q, strict=True)
            )
        )
    found = SimilarityDistillation(0.3, 0.1)(Contrast.from_pairs(s, t).append(block))
    assert found.item() == pytest.approx(mean(rows), rel=1e-9)


def test_similarities_among_students_may_have_another_width() -> None:
    s, t = scene(), torch.randn(5, 7, dtype=torch.float64)
    contrast = Contrast.from_views(s[0][None], teacher=t)
    u, v = torch.nn.functional.normalize(s[0], dim=1), torch.nn.functional.normalize(t, dim=1)
    gone = torch.eye(5, dtype=torch.bool)
    log_q, log_p = ((x @ x.mT / tau).masked_fill(gone, -torch.inf).log_softmax(1) for x, tau in ((u, 0.3), (v, 0.1)))
    expected = (log_p.exp() * (log_p - log_q).masked_fill(gone, 0)).sum(1).mean()
    torch.testing.assert_close(SimilarityDistillation(0.3, 0.1)(contrast), expected)
    same = SimilarityDistillation(0.3, 0.3)(Contrast.from_views(s[0][None], teacher=s[0]))
    assert same.item() == pytest.approx(0.0, abs=1e-12)


def test_the_critic_does_not_stretch() -> None:
    critic = LipschitzBilinear(3).double()
    torch.manual_seed(0)
    critic.weight.data = 4 * torch.randn(3, 3, dtype=torch.float64)
    assert torch.linalg.svdvals(critic.matrix())[0].item() == pytest.approx(1.0)
    a, b, c = (torch.nn.functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=1) for _ in range(3))
    gap = (critic.tile(a, c) - critic.tile(b, c)).abs().amax(1)
    assert (gap <= (a - b).norm(dim=1) + 1e-12).all()
    small = LipschitzBilinear(3)
    small.weight.data.mul_(0.5)
    torch.testing.assert_close(small.matrix(), 0.5 * torch.eye(3))
    assert torch.autograd.gradcheck(lambda w, a: a @ (w / torch.linalg.matrix_norm(w, 2).clamp(min=1)) @ a.mT,
                                    (critic.weight.detach().requires_grad_(), a[:2]))  # fmt: skip


def test_the_plan() -> None:
    cost = torch.rand(6, 6, dtype=torch.float64)
    plan = transport_plan(cost, 0.1, 500)
    torch.testing.assert_close(plan.sum(1), torch.full((6,), 1 / 6, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64), rtol=0, atol=1e-6)
    eye = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(transport_plan(1 - eye, 0.01), eye / 4)


def test_sets_are_matched_and_not_pairs() -> None:
    s, t = scene()
    term = TransportMatching(1.0, 0.1, 50)
    value = term(Contrast.from_pairs(s, t))
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(term(Contrast.from_pairs(s[order], t)), value, rtol=1e-6, atol=1e-8)
    cost = [[1 - dot(a, b) for b in units(s[None])[0]] for a in units(t[None])[0]]
    plan = transport_plan(torch.tensor(cost, dtype=torch.float64), 0.1, 50).tolist()
    assert value.item() == pytest.approx(math.fsum(plan[i][j] * cost[i][j] for i in range(5) for j in range(5)))
    assert term(Contrast.from_pairs(torch.eye(3), torch.eye(3))).item() == pytest.approx(0, abs=1e-3)


def test_cross_entropy_by_loops() -> None:
    z, label = scene()[0], torch.tensor([0, 2, -1, 1, 2])
    term = CrossEntropy(3, 0.5).double()
    found = term(Contrast.from_views(z[None], label=label))
    rows = []
    for x, y in zip(z, label.tolist(), strict=True):
        logits = (term.linear.weight @ x + term.linear.bias).tolist()
        if y >= 0:
            rows.append(math.log(math.fsum(map(math.exp, logits))) - logits[y])
    assert found.item() == pytest.approx(0.5 * mean(rows))


def wcord(**kwargs: object) -> ContrastiveModule:
    torch.manual_seed(0)
    critic = LipschitzBilinear(16)
    crd = CRD(0.2, projector=torch.nn.Linear(16, 16), similarity=critic)
    terms = [TransportMatching(0.5), CrossEntropy(10)]
    terms[1].linear = torch.nn.Linear(16, 10)
    return sgd(ContrastiveModule(linear(), Regularised(crd, terms), key_encoder=Frozen(linear(1))), **kwargs)


def test_processes(tmp_path) -> None:
    bank = lambda: [MemoryBank(128, negatives=40)]  # noqa: E731
    assert_two_processes_train_as_one(tmp_path, wcord, bank, steps=5)


class Small(DigitsDataModule):
    """A few digits."""

    def __init__(self) -> None:
        super().__init__(batch_size=64, pairs=True)


def taught() -> ContrastiveModule:
    torch.manual_seed(0)
    teacher = Frozen(MLPEncoder([32], 8, batch_norm=True))
    return sgd(ContrastiveModule(MLPEncoder([16], 8), SimilarityDistillation(), key_encoder=teacher))


def test_the_teacher_learns_once_and_a_resumed_run_is_the_same(tmp_path) -> None:
    before, after = assert_resumes_exactly(
        tmp_path, taught, lambda: [TrainTeacher(steps=30, batch_size=64, lr=0.01)], stop=2, steps=4, data=Small()
    )
    assert before[0].done
    assert after[0].done
    module, data = taught(), Small()
    torch.manual_seed(5)
    fit(module, [TrainTeacher(steps=60, batch_size=64, lr=0.01)], steps=1, data=data)
    teacher = module.key_encoder
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert not teacher.copied.training
    bank = [(teacher(b["input"]), b["label"]) for b in data.bank_dataloader()]
    z, y = (torch.cat(x) for x in zip(*bank, strict=True))
    centres = torch.stack([z[y == c].mean(0) for c in range(10)])
    assert (torch.cdist(z, centres).argmin(1) == y).float().mean() > 0.8, "it tells digits apart"


def test_the_teacher_is_the_same_on_every_process() -> None:
    found = []
    for world in (1, 2):
        module = taught()
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        fit(module, [TrainTeacher(steps=3, batch_size=32)], steps=1, data=Small(), **many)
        found.append(weights(module.key_encoder))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: CRD(samples=0), "samples=0"),
        (lambda: TeacherSimilarity(0.0), "teacher temperature=0.0"),
        (lambda: SimilarityDistillation()(Contrast.from_pairs(*scene(), in_batch=False)), "in_batch=True"),
        (lambda: TransportMatching(epsilon=0.0), "epsilon=0.0"),
        (lambda: TransportMatching()(Contrast.from_pairs(*scene(), in_batch=False)), "in_batch=True"),
        (lambda: CrossEntropy(1), "classes=1"),
        (lambda: CrossEntropy(2)(Contrast.from_views(torch.ones(1, 2, 3), label=torch.tensor([0, 5]))), "goes up to 5"),
        (lambda: TrainTeacher(steps=0), "steps=0"),
        (lambda: fit(wcord_of(Momentum()), [TrainTeacher()]), "key_encoder=Frozen"),
        (lambda: fit(wcord_of(Frozen(linear(1))), [TrainTeacher()]), "bank_dataloader"),
        (lambda: fit(taught(), [TrainTeacher(steps=1, classes=5)], steps=1, data=Small()), "labels from 0 to 9"),
    ],
)
def test_misuse(bad, message) -> None:
    with pytest.raises(ValueError, match=message):
        bad()


def wcord_of(teacher: torch.nn.Module) -> ContrastiveModule:
    return ContrastiveModule(linear(), CRD(), key_encoder=teacher)


def test_crd_of_a_constant_number_of_candidates_is_siglip() -> None:
    s, t = scene()
    one, two = CRD(0.3, samples=12), SigLIP(0.3, bias=-math.log(4 / 12))
    torch.testing.assert_close(one(Contrast.from_pairs(s, t)), two(Contrast.from_pairs(s, t)))
