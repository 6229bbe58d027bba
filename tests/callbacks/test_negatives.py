"""FalseNegativeFilter, HardnessWeighting, Debiasing: by hand, in composition, over resume and processes."""

import itertools
import math

import numpy
import pytest
import torch

from lightning_contrast import Contrast, Dot
from lightning_contrast.callbacks import (
    Debiasing,
    FalseNegativeFilter,
    HardnessWeighting,
    MemoryQueue,
    TemperatureSchedule,
)
from lightning_contrast.contrast import Candidates, ready
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr
from tests.modules.test_contrastive import LABELS


def line(*similarities):
    """One anchor whose candidates have these dot products; the first is the positive."""
    anchor = torch.ones(1, 1, dtype=torch.float64)
    z = torch.tensor(similarities, dtype=torch.float64)
    contrast = Contrast.from_pairs(anchor, z[:1, None]).replace(similarity=Dot())
    return contrast.append(Candidates(z[1:, None], name="queue", where="replicated"))


def left(contrast, *callbacks):
    for callback in callbacks:
        contrast = callback.on_contrast(None, None, contrast)
    scores = contrast.scores()
    return scores.similarity[0][scores.exists[0]].tolist()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"absolute_margin": 0.1}, [0.8, 0.7, 0.3, -0.2]),
        ({"absolute_margin": 0.0}, [0.8, 0.75, 0.7, 0.3, -0.2]),
        ({"relative_margin": 0.5}, [0.8, 0.3, -0.2]),
        ({"max_score": 0.72}, [0.8, 0.7, 0.3, -0.2]),
        ({"min_score": 0.0}, [0.8, 0.9, 0.75, 0.7, 0.3]),
        ({"quantile": 0.4}, [0.8, 0.7, 0.3, -0.2]),
        ({"quantile": 0.1}, [0.8, 0.9, 0.75, 0.7, 0.3, -0.2]),
        ({"skip": 1}, [0.8, 0.75, 0.7, 0.3, -0.2]),
        ({"skip": 5}, [0.8]),
        ({"skip": 99}, [0.8]),
    ],
)
def test_each_rule(rule, expected):
    assert left(line(0.8, 0.9, 0.75, 0.7, 0.3, -0.2), FalseNegativeFilter(**rule)) == expected


def test_the_relative_margin_holds_for_a_negative_positive():
    """p (1 - margin) would be above p here, and let harder negatives than the positive through."""
    assert left(line(-0.4, -0.3, -0.42, -0.7), FalseNegativeFilter(relative_margin=0.5)) == [-0.4, -0.7]


def test_rules_apply_in_the_order_given():
    skip, cap = FalseNegativeFilter(skip=1, name="a"), FalseNegativeFilter(max_score=0.8, name="b")
    contrast = line(0.8, 0.9, 0.75, 0.7)
    assert left(contrast, cap, skip) == [0.8, 0.7]  # 0.9 by the cap, then 0.75
    assert left(contrast, skip, cap) == [0.8, 0.75, 0.7]  # 0.9 skipped, nothing above the cap
    assert left(contrast, FalseNegativeFilter(max_score=0.8, skip=1)) == [0.8, 0.7]


def test_labels_and_blocks():
    z = torch.randn(6, 4)
    contrast = Contrast.from_pairs(z, z, label=LABELS[:6] % 2)
    queue = Candidates(torch.randn(3, 4), {"label": torch.tensor([0, 1, -1])}, "queue", "replicated")
    contrast = contrast.append(queue)
    rule = FalseNegativeFilter(same_label=True, blocks=["queue"])
    exists = rule.on_contrast(None, None, contrast).scores().exists
    assert exists[:, :6].all()
    assert torch.equal(exists[:, 6:], LABELS[:6, None] % 2 != torch.tensor([0, 1, -1]))
    absent = FalseNegativeFilter(same_label=True, blocks=["bank"]).on_contrast(None, None, contrast)
    assert absent.rules == (), "a queue that has nothing yet"


def test_counts_what_each_rule_removed():
    rules = FalseNegativeFilter(absolute_margin=0.1, max_score=0.72, skip=1)
    contrast = rules.on_contrast(None, None, line(0.8, 0.9, 0.75, 0.71, 0.3, -0.2))
    removed = {k: v.item() for k, v in rules.removed(ready(contrast)).items()}
    assert removed == {"absolute_margin": 3, "max_score": 0, "skip": 1, "emptied": 0}
    everything = FalseNegativeFilter(max_score=-1.0)
    contrast = everything.on_contrast(None, None, line(0.8, 0.9, -0.2))
    assert {k: v.item() for k, v in everything.removed(ready(contrast)).items()} == {"max_score": 2, "emptied": 1}
    assert torch.isfinite(InfoNCE()(contrast))


def test_the_order_can_be_given():
    contrast = line(0.8, 0.9, 0.75, 0.7)
    rules = {"max_score": 0.8, "skip": 1}
    assert left(contrast, FalseNegativeFilter(**rules, order=["max_score", "skip"])) == [0.8, 0.7]
    backwards = FalseNegativeFilter(**rules, order=["skip", "max_score"])
    assert left(contrast, backwards) == [0.8, 0.75, 0.7]
    removed = backwards.removed(ready(backwards.on_contrast(None, None, contrast)))
    assert [(k, v.item()) for k, v in removed.items()] == [("skip", 1), ("max_score", 0), ("emptied", 0)]


def test_ids_beside_labels():
    z, group = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, -1, -1])
    contrast = Contrast.from_pairs(z, z, label=LABELS[:6] * 0 + torch.arange(6) % 3, group=group)
    rules = FalseNegativeFilter(same_label=True, same=["group"])
    assert list(rules.rules) == ["same_group", "same_label"]
    exists = rules.on_contrast(None, None, contrast).scores().exists
    for i in range(6):
        for j in range(6):
            same = (group[i] == group[j] >= 0) or i % 3 == j % 3
            assert exists[i, j] == (i == j or not same)


def taught(n=5, m=7, d=3):
    """Embeddings say nothing; the teacher knows better. The last two entries are unknown to it."""
    torch.manual_seed(4)
    teacher = torch.nn.functional.normalize(torch.randn(n + m - 2, d), dim=1)
    contrast = Contrast.from_pairs(torch.randn(n, 4), torch.randn(n, 4), index=torch.arange(n), in_batch=False)
    ids = torch.arange(n, n + m)
    ids[-1] = -1
    queue = Candidates(torch.randn(m, 4), {"index": ids}, name="queue", where="replicated")
    return contrast.append(queue), teacher


@pytest.mark.parametrize(
    "rule", [{"max_score": 0.2}, {"relative_margin": 0.6}, {"absolute_margin": 0.8}, {"min_score": -0.5}], ids=str
)
def test_a_teacher_rescores(rule, tmp_path):
    contrast, teacher = taught()
    (name, value), n = next(iter(rule.items())), 5
    exists = FalseNegativeFilter(teacher=teacher * 3, **rule).on_contrast(None, None, contrast).scores().exists
    assert exists[:, 0].all()
    for i in range(n):
        for j in range(7):
            s = (teacher[i] @ teacher[n + j]).item() if j < 5 else None  # of itself with its positive: 1
            gone = s is not None and {
                "max_score": lambda s: s > value,
                "min_score": lambda s: s < value,
                "relative_margin": lambda s: s > 1 - value,
                "absolute_margin": lambda s: s > 1 - value,
            }[name](s)
            assert exists[i, 1 + j] == (not gone), (i, j)
    file = tmp_path / "teacher.npz"
    shuffled = torch.randperm(len(teacher))
    numpy.savez(file, embedding=teacher[shuffled].numpy(), index=shuffled.numpy())
    again = FalseNegativeFilter(teacher=str(file), **rule).on_contrast(None, None, contrast).scores().exists
    assert torch.equal(again, exists)


@pytest.mark.parametrize("rule", [{"quantile": 0.4}, {"skip": 2}], ids=str)
def test_ranks_by_a_teacher_leave_out_whom_it_does_not_know(rule):
    contrast, teacher = taught()
    exists = FalseNegativeFilter(teacher=teacher, **rule).on_contrast(None, None, contrast).scores().exists
    nearest = (teacher[:5] @ teacher[5:10].T).topk(2, dim=1).indices  # of the five it knows
    for i in range(5):
        assert {j for j in range(7) if not exists[i, 1 + j]} == set(nearest[i].tolist())


def test_a_teacher_in_the_payload_and_private_candidates():
    contrast, teacher = taught()
    by_index = FalseNegativeFilter(teacher=teacher, max_score=0.1, skip=1, blocks=["queue", "own"])
    by_key = FalseNegativeFilter(teacher_key="teacher", max_score=0.1, skip=1, blocks=["queue", "own"])
    ids = torch.tensor([[6, 7], [8, 9], [5, 6], [7, 8], [9, 5]])
    contrast = contrast.replace(candidates=contrast.candidates[:1]).append(
        Candidates(torch.randn(5, 2, 4), {"index": ids, "teacher": 2 * teacher[ids]}, name="own", where="private")
    )
    known = contrast.attach("anchor", teacher=teacher[:5]).attach("positive", teacher=teacher[:5, None])
    one, two = (f.on_contrast(None, None, c).scores().exists for f, c in ((by_index, contrast), (by_key, known)))
    assert torch.equal(one, two)
    assert not one.all()
    with pytest.raises(KeyError, match="no payload 'teacher'"):
        by_key.on_contrast(None, None, contrast).scores().exists


def test_bad_teachers(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        FalseNegativeFilter(teacher=str(tmp_path / "none.npz"), skip=1)
    (tmp_path / "a.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match="is no table"):
        FalseNegativeFilter(teacher=str(tmp_path / "a.txt"), skip=1)
    with pytest.raises(ValueError, match=r"must be \[N, D\], got \[7\]"):
        FalseNegativeFilter(teacher=torch.randn(7), skip=1)
    with pytest.raises(ValueError, match="one of the two"):
        FalseNegativeFilter(teacher=torch.randn(7, 2), teacher_key="teacher", skip=1)


def loss_of(contrast, *callbacks, temperature=1.0, objective=InfoNCE):
    for callback in callbacks:
        contrast = callback.on_contrast(None, None, contrast)
    return objective(temperature)(contrast)


def test_worked_numbers_of_hardness():
    """Positive 1.6, negatives 1.0 and -0.4: weights (1.60437, 0.39563), sum 4.62632, loss 0.65961."""
    contrast = line(1.6, 1.0, -0.4)
    assert loss_of(contrast, HardnessWeighting(1.0)).item() == pytest.approx(0.65961, abs=2e-5)
    weighted = HardnessWeighting(1.0).on_contrast(None, None, contrast).scores()
    assert weighted.log_weight[0].exp().tolist() == pytest.approx([1, 1.60437, 0.39563], abs=1e-5)


def debiased(similarity, beta, tau_plus, t):
    positive, *negatives = [s / t for s in similarity]
    m = len(negatives)
    mean = sum(math.exp(beta * x) for x in negatives) / m
    total = sum(math.exp((1 + beta) * x) / mean for x in negatives)
    n_g = max((total - m * tau_plus * math.exp(positive)) / (1 - tau_plus), m * math.exp(-1 / t))
    return math.log(1 + n_g / math.exp(positive))


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("similarity", [(0.3, 0.5, -0.1, 0.2), (0.9, -0.9, -0.8)], ids=["sum", "floor"])
def test_the_debiased_estimate(beta, tau_plus, similarity):
    weights = [HardnessWeighting(beta)] if beta else []
    value = loss_of(line(*similarity), *weights, Debiasing(tau_plus), temperature=0.5)
    assert value.item() == pytest.approx(debiased(similarity, beta, tau_plus, 0.5), abs=1e-9)


@pytest.mark.parametrize(
    "callbacks", [[HardnessWeighting(1.0)], [Debiasing(0.1)], [HardnessWeighting(0.5), Debiasing()]]
)
@pytest.mark.parametrize("path", ["dense", "tiles"])
def test_gradients(callbacks, path):
    torch.manual_seed(0)
    a = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    b = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    objective = InfoNCE(0.5)
    objective.path = path

    def f(a, b):
        contrast = Contrast.from_pairs(a, b)
        for callback in callbacks:
            contrast = callback.on_contrast(None, None, contrast)
        return objective(contrast)

    assert torch.autograd.gradcheck(f, (a, b))


def test_detached_weights_are_constants():
    contrast = line(1.6, 1.0, -0.4)
    z = contrast.candidates[1].z.clone().requires_grad_()
    contrast = contrast.replace(candidates=(contrast.candidates[0], contrast.candidates[1].replace(z=z)))
    loss_of(contrast, HardnessWeighting(1.0, detach=True)).backward()
    e = [math.exp(1.6), 1.60437 * math.exp(1.0), 0.39563 * math.exp(-0.4)]
    assert z.grad[:, 0].tolist() == pytest.approx([e[1] / sum(e), e[2] / sum(e)], abs=1e-5)


def test_anchors_without_negatives_stay_finite():
    z = torch.randn(1, 4, requires_grad=True)
    loss_of(Contrast.from_pairs(z, z * 2), HardnessWeighting(), Debiasing()).backward()
    assert torch.isfinite(z.grad).all()


PARTS = {
    "filter": lambda: FalseNegativeFilter(relative_margin=0.02, quantile=0.05),
    "hardness": lambda: HardnessWeighting(0.3),
    "debias": lambda: Debiasing(0.05),
    "queue": lambda: MemoryQueue(100),
    "schedule": lambda: TemperatureSchedule(0.2, 0.4, "linear"),
}


def test_queue_and_schedule_commute_with_the_rules():
    """Rules keep their order; what appends or sets commutes with them."""
    losses = []
    for i, j in itertools.product(range(4), range(5)):
        names = ["filter", "hardness", "debias"]
        names.insert(i, "queue")
        names.insert(j, "schedule")
        record = Losses()
        fit(simclr(dropout=0), [PARTS[n]() for n in names] + [record], steps=3)
        losses.append(record.losses)
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(losses[:1]).expand(len(losses), 3))


def test_resume(tmp_path):
    assert_resumes_exactly(tmp_path, simclr, lambda: [make() for make in PARTS.values()])


@pytest.mark.parametrize("names", [["filter"], ["hardness", "debias"], ["queue", "filter", "hardness"]], ids=str)
def test_two_processes(tmp_path, names):
    build = lambda: simclr(dropout=0)  # noqa: E731
    assert_two_processes_train_as_one(tmp_path, build, lambda: [PARTS[n]() for n in names], steps=4)


@pytest.mark.parametrize("module", [lambda: moco(), lambda: simclr(SupCon(0.2))], ids=["moco", "supcon"])
def test_logs_what_was_removed(module):
    callbacks = [MemoryQueue(64), FalseNegativeFilter(quantile=0.1, same_label=True)]
    t = fit(module(), callbacks, steps=3, log_every_n_steps=1)
    assert t.callback_metrics["false_negatives/quantile"] > 0
    assert "false_negatives/same_label" in t.callback_metrics


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FalseNegativeFilter(), "no rule"),
        (lambda: FalseNegativeFilter(absolute_margin=-1), "absolute_margin=-1"),
        (lambda: FalseNegativeFilter(relative_margin=2), "relative_margin=2"),
        (lambda: FalseNegativeFilter(max_score=0.1, min_score=0.2), "min_score=0.2"),
        (lambda: FalseNegativeFilter(quantile=1.0), "quantile=1.0"),
        (lambda: FalseNegativeFilter(skip=-1), "skip=-1"),
        (lambda: FalseNegativeFilter(skip=1, blocks="queue"), "list of names"),
        (lambda: FalseNegativeFilter(skip=1, same="group"), "list of names"),
        (lambda: FalseNegativeFilter(skip=1, order=["max_score"]), "each of the rules given once"),
        (lambda: HardnessWeighting(-1), "beta=-1"),
        (lambda: Debiasing(1.0), "tau_plus=1.0"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_told_at_set_up():
    with pytest.raises(ValueError, match="both called 'false_negatives'"):
        fit(simclr(), [FalseNegativeFilter(skip=1), FalseNegativeFilter(max_score=0.5)])
    with pytest.raises(ValueError, match="needs a similarity with a bound"):
        fit(simclr(InfoNCE(0.2, similarity=Dot())), [Debiasing()])
