"""ImportanceWeights and HardestNegatives."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast, Dot
from lightning_contrast.callbacks import FalseNegativeFilter, HardestNegatives, ImportanceWeights, MemoryQueue
from lightning_contrast.contrast import Candidates
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr
from tests.callbacks.test_negatives import left, line

# Importance -------------------------------------------------------------------------------------------------------


def weighed(value, **kwargs):
    """Positive of similarity 1.6, negatives 1.0 and -0.4 with these numbers; the loss at temperature 1."""
    contrast = line(1.6, 1.0, -0.4).attach("positive", w=torch.tensor([value[0]]))
    contrast = contrast.attach("queue", w=torch.tensor(value[1:]))
    return InfoNCE(1.0)(ImportanceWeights("w", **kwargs).on_contrast(None, None, contrast)).item()


def by_hand(w, positive=1.0):
    e = [math.exp(x) for x in (1.6, 1.0, -0.4)]
    return math.log(positive * e[0] + w[0] * e[1] + w[1] * e[2]) - 1.6


@pytest.mark.parametrize(
    ("kwargs", "value", "weights"),
    [
        ({}, [9.0, 2.0, 0.5], (2.0, 0.5)),
        ({}, [9.0, 0.0, 0.5], (0.0, 0.5)),
        ({}, [9.0, math.nan, 0.5], (1.0, 0.5)),
        ({"kind": "propensity"}, [9.0, 0.5, 0.125], (2.0, 8.0)),
        ({"kind": "propensity", "power": 0.5}, [9.0, 0.25, 0.0625], (2.0, 4.0)),
        ({"kind": "propensity", "maximum": 5.0}, [9.0, 0.5, 0.125], (2.0, 5.0)),
        ({"kind": "log_weight", "minimum": 0.7}, [9.0, math.log(3.0), math.log(0.1)], (3.0, 0.7)),
        ({"power": 0.0}, [9.0, 2.0, 0.5], (1.0, 1.0)),
    ],
    ids=str,
)
def test_weights_by_hand(kwargs, value, weights):
    assert weighed(value, **kwargs) == pytest.approx(by_hand(weights), rel=1e-6)


def test_positives_too():
    assert weighed([3.0, 2.0, 0.5], positives=True) == pytest.approx(by_hand((2.0, 0.5), 3.0), rel=1e-6)


def test_the_logq_correction_is_unbiased():
    """Negatives drawn by popularity and weighed by 1 / (M q) estimate the sum over all items."""
    torch.manual_seed(0)
    items = torch.randn(50, dtype=torch.float64)
    q = torch.softmax(1.5 * torch.randn(50, dtype=torch.float64), 0)
    drawn = torch.multinomial(q, 200_000, replacement=True)
    contrast = Contrast.from_pairs(torch.ones(1, 1).double(), torch.zeros(1, 1).double(), index=torch.tensor([99]))
    contrast = contrast.replace(similarity=Dot(), temperature=1.0)
    contrast = contrast.append(Candidates(items[drawn, None], {"index": drawn}, name="drawn", where="replicated"))
    scores = ImportanceWeights(table=q, kind="propensity").on_contrast(None, None, contrast).scores()
    estimate = scores.logsumexp("negatives").exp() / len(drawn)
    assert estimate.item() == pytest.approx(items.exp().sum().item(), rel=0.05)
    assert abs(items[drawn].exp().mean().item() * 50 / items.exp().sum().item() - 1) > 0.1, "without: biased"


@pytest.mark.parametrize("path", ["dense", "tiles", "auto"])
def test_payload_and_table_agree_on_every_path(path, tmp_path):
    torch.manual_seed(1)
    z, weight = torch.randn(2, 12, 4, dtype=torch.float64, requires_grad=True), torch.rand(30) * 3
    index = torch.randperm(30)[:12]
    torch.save(weight, tmp_path / "w.pt")
    objective = InfoNCE(0.3)
    objective.path = path
    contrast = Contrast.from_views(z, index=index, w=weight[index])
    s = F.normalize(z.flatten(0, 1), dim=1)
    w, me = weight[index].repeat(2).double(), torch.arange(24)
    logit = s @ s.T / 0.3
    target = (me[:, None] % 12 == me % 12) & (me[:, None] != me)
    term = (logit + torch.where(target, 0.0, w.log())).masked_fill(me[:, None] == me, -torch.inf)
    expected = (term.logsumexp(1) - logit[target]).mean()
    (grad,) = torch.autograd.grad(expected, z, retain_graph=True)
    for callback in (
        ImportanceWeights("w"),
        ImportanceWeights(table=weight),
        ImportanceWeights(table=str(tmp_path / "w.pt")),
    ):
        loss = objective(callback.on_contrast(None, None, contrast))
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(torch.autograd.grad(loss, z)[0], grad)


def test_importance_resumes_and_logs(tmp_path):
    make = lambda: [MemoryQueue(50), ImportanceWeights(table=torch.arange(128) / 64, blocks=["queue"])]  # noqa: E731
    assert_resumes_exactly(tmp_path, moco, make)
    t = fit(simclr(), [ImportanceWeights(table=torch.full((128,), 2.0))], steps=1, log_every_n_steps=1)
    assert t.callback_metrics["importance/mean"] == 2
    assert t.callback_metrics["importance/effective"] == pytest.approx(1.0)


def test_importance_on_two_processes(tmp_path):
    make = lambda: [ImportanceWeights(table=torch.arange(128) / 64, kind="weight")]  # noqa: E731
    assert_two_processes_train_as_one(tmp_path, lambda: simclr(dropout=0), make, steps=4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImportanceWeights(), "either key"),
        (lambda: ImportanceWeights("w", torch.ones(2)), "either key"),
        (lambda: ImportanceWeights("w", kind="odds"), "kind='odds'"),
        (lambda: ImportanceWeights("w", minimum=2, maximum=1), "minimum=2"),
        (lambda: ImportanceWeights("w", power=math.inf), "power=inf"),
        (lambda: ImportanceWeights("w", blocks="queue"), "list of names"),
        (lambda: ImportanceWeights(table=torch.tensor([1.0, -1.0])), "the table holds -1.0"),
        (
            lambda: ImportanceWeights(table=torch.tensor([1.0, 0.0]), kind="propensity"),
            "holds 0.0, but a propensity is > 0",
        ),
        (lambda: ImportanceWeights(table=torch.ones(2, 2)), r"must be \[N\]"),
        (lambda: weighed([1.0, -2.0, 1.0]), "'w' of block 'queue' holds -2.0"),
        (lambda: HardestNegatives(0), "count=0"),
        (lambda: HardestNegatives(2, blocks="queue"), "list of names"),
        (lambda: fit(simclr(), [ImportanceWeights("w"), ImportanceWeights("w")]), "both called 'importance'"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_block_without_the_key_is_named():
    with pytest.raises(KeyError, match="'positive' has no payload 'w'"):
        ImportanceWeights("w").on_contrast(None, None, line(1.0, 0.5))


# The hardest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0.8, 0.9]), (2, [0.8, 0.9, 0.7]), (4, [0.8, 0.9, 0.3, 0.7, -0.2]), (99, [0.8, 0.9, 0.3, 0.7, -0.2])],
)
def test_the_most_similar_stay(count, expected):
    assert left(line(0.8, 0.9, 0.3, 0.7, -0.2), HardestNegatives(count)) == expected


def test_suspicious_ones_go_first():
    contrast = line(0.5, 0.65, 0.55, 0.1)
    assert left(contrast, FalseNegativeFilter(max_score=0.6), HardestNegatives(1)) == [0.5, 0.55]
    assert left(contrast, HardestNegatives(1), FalseNegativeFilter(max_score=0.6)) == [0.5]


def test_blocks_are_ranked_among_each_other():
    z = torch.eye(3, dtype=torch.float64)
    contrast = Contrast.from_pairs(z[:2], z[:2])  # in the batch: one negative of similarity 0
    contrast = contrast.append(Candidates(-z, name="queue", where="replicated"))
    exists = HardestNegatives(1, blocks=["queue"]).on_contrast(None, None, contrast).scores().exists
    assert exists[:, :2].all(), "the batch is not spoken of"
    assert exists[:, 2:].tolist() == [[False, True, True], [True, False, True]], "equals of the last one stay"
    skip = FalseNegativeFilter(skip=2, blocks=["queue"]).on_contrast(None, None, contrast).scores().exists
    assert skip[:, :2].all()
    assert skip[:, 2:].tolist() == [[True, False, False], [False, True, False]], "ranked without the batch"
    assert HardestNegatives(1, blocks=["bank"]).on_contrast(None, None, contrast) is contrast


def dual(m, q, k, queue, tau=0.2):
    contrast = Contrast.from_pairs(q, k, in_batch=False)
    contrast = contrast.append(Candidates(queue, name="queue", where="replicated"))
    return InfoNCE(tau)(HardestNegatives(m, blocks=["queue"]).on_contrast(None, None, contrast))


def test_dual_view_filtering():
    """The loss never falls as more entries count; all of them: MoCo; one: log(1 + e^((q n - q k) / tau))."""
    torch.manual_seed(0)
    q, k, queue = (F.normalize(torch.randn(n, 5, dtype=torch.float64), dim=1) for n in (3, 3, 20))
    losses = [dual(m, q, k, queue).item() for m in range(1, 21)]
    assert losses == sorted(losses)
    moco_loss = F.cross_entropy(torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2, torch.zeros(3).long())
    assert losses[-1] == pytest.approx(moco_loss.item())
    assert dual(30, q, k, queue).item() == pytest.approx(moco_loss.item())
    one = torch.log1p(torch.exp((q @ queue[0] - (q * k).sum(1)) / 0.2)).mean()
    assert dual(1, q, k, queue[:1]).item() == pytest.approx(one.item())
    q.requires_grad_()
    queue.requires_grad_()
    (grad,) = torch.autograd.grad(dual(4, q, k, queue.detach()), q)
    u = F.normalize(q, dim=1)
    hardest = (u @ queue.T).topk(4, dim=1).values
    whole = F.cross_entropy(torch.cat([(u * k).sum(1, keepdim=True), hardest], 1) / 0.2, torch.zeros(3).long())
    torch.testing.assert_close(grad, torch.autograd.grad(whole, q)[0])


def test_hardest_on_two_processes_and_resumed(tmp_path):
    build = lambda: moco(both_orders=True)  # noqa: E731
    make = lambda: [MemoryQueue(60), HardestNegatives(10, blocks=["queue"])]  # noqa: E731
    assert_two_processes_train_as_one(tmp_path, build, make, steps=5)
    assert_resumes_exactly(tmp_path, build, make)
