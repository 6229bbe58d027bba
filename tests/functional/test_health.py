"""Gradient share, agreement of clusters, the trained probe, drift of keys, misaligned views: beside plain loops,
scikit-learn, torchmetrics, and what they must be in the limit."""

import math

import pytest
import torch
import torch.nn.functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.functional import gradient_share as module
from lightning_contrast.functional.augmented_distance import misaligned
from lightning_contrast.functional.clustering import clustering_agreement
from lightning_contrast.functional.gradient_share import gradient_share, row_shares
from lightning_contrast.functional.logistic import logistic_probe
from lightning_contrast.metrics import QueueStaleness
from lightning_contrast.objectives import InfoNCE

G = torch.Generator().manual_seed(0)
X, Y = torch.randn(17, 5, generator=G), torch.randn(31, 5, generator=G)
A, B = torch.arange(17) % 4, torch.arange(31) % 4
IDS = torch.arange(31)


def shares_by_loops(x, y, a, b, tau, fractions, ids=None):
    """Of one anchor after another, from the definition of the softmax over everything."""
    hardest, effective, count = [], [], []
    for i in range(len(x)):
        cosine = {j: float(F.cosine_similarity(x[i], y[j], dim=0)) for j in range(len(y)) if ids is None or i != j}
        total = sum(math.exp(s / tau) for s in cosine.values())
        p = sorted((math.exp(s / tau) / total for j, s in cosine.items() if a[i] != b[j]), reverse=True)
        if not p:
            continue
        share = [value / sum(p) for value in p]
        hardest.append([sum(share[: math.ceil(f * len(p) - 1e-9)]) for f in fractions])
        effective.append(math.exp(-sum(r * math.log(r) for r in share if r > 0)))
        count.append(len(p))
    mean = [sum(column) / len(count) for column in zip(*hardest, strict=True)]
    return [*mean, sum(effective) / len(count), sum(count) / len(count)]


@pytest.mark.parametrize("tile", [1024, 7])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_gradient_share_equals_loops_in_any_tile(monkeypatch, tile, tau):
    monkeypatch.setattr(module, "TILE", tile)
    fractions = [0.01, 0.1, 0.5, 1.0]
    found = gradient_share(X, Y, A, B, temperature=tau, fractions=fractions)
    expected = shares_by_loops(X, Y, A, B, tau, fractions)
    assert [*found.hardest.tolist(), float(found.effective), float(found.negatives)] == pytest.approx(
        expected, rel=1e-5
    )
    among = gradient_share(Y, Y, B, B, anchor_ids=IDS, candidate_ids=IDS, temperature=tau, fractions=[0.2])
    expected = shares_by_loops(Y, Y, B, B, tau, [0.2], IDS)
    assert [float(among.hardest), float(among.effective), float(among.negatives)] == pytest.approx(expected, rel=1e-5)


def test_gradient_share_is_that_of_the_objectives_gradient():
    """By autograd through InfoNCE itself: what each negative's logit gets, of what all negatives' get."""
    z = torch.randn(2, 12, 6, generator=G)
    scores = Contrast.from_views(z).replace(temperature=0.2).scores()
    scores.logit = scores.logit.detach().requires_grad_()
    InfoNCE(0.2).rows(scores).sum().backward()
    negative = scores.exists & (scores.target <= 0)
    force = scores.logit.grad.masked_fill(~negative, 0).sort(1, descending=True).values
    share = force / force.sum(1, keepdim=True)
    group = torch.arange(12).repeat(2)
    ids = torch.arange(24)
    found = gradient_share(
        z.flatten(0, 1), z.flatten(0, 1), group, group, anchor_ids=ids, candidate_ids=ids, temperature=0.2,
        fractions=[0.1],
    )  # fmt: skip
    assert float(found.negatives) == 22
    assert float(found.hardest) == pytest.approx(float(share[:, :3].sum(1).mean()), rel=1e-5)  # 2.2, rounded up
    hardest, effective, _ = row_shares(scores.logit.detach().masked_fill(~negative, -torch.inf), [0.1])
    assert float(hardest.mean()) == pytest.approx(float(found.hardest), rel=1e-5)
    assert float(effective.mean()) == pytest.approx(float(found.effective), rel=1e-5)


def test_gradient_share_in_the_limits():
    """Wang and Liu: towards temperature 0 the hardest negative alone, towards infinity all alike; equal ones share."""
    cold = gradient_share(X, Y, A, B, temperature=1e-4, fractions=[0.01])
    assert float(cold.hardest) == pytest.approx(1.0)
    assert float(cold.effective) == pytest.approx(1.0)
    hot = gradient_share(X, Y, torch.full((17,), 9), B, temperature=1e6, fractions=[0.1])
    assert float(hot.hardest) == pytest.approx(4 / 31, rel=1e-4)
    assert float(hot.effective) == pytest.approx(31, rel=1e-4)
    equal = gradient_share(X[:1], X[:1].repeat(30, 1), A[:1], A[:1] + 1 + torch.arange(30), fractions=[0.1])
    assert [float(v) for v in equal] == pytest.approx([3 / 30, 30, 30])
    alone = gradient_share(X, Y, A * 0, B * 0)
    assert math.isnan(float(alone.effective))
    assert math.isnan(float(alone.negatives))


PARTITIONS = {
    "random": (torch.randint(5, (200,), generator=G), torch.randint(3, (200,), generator=G)),
    "alike": (torch.arange(200) // 30, torch.arange(200) // 26),
    "single": (torch.zeros(9, dtype=torch.int64), torch.arange(9) % 2),
    "singletons": (torch.arange(9), torch.arange(9) % 2),
    "same": (torch.arange(60) % 7 * 3, -(torch.arange(60) % 7)),
    "one": (torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", PARTITIONS)
def test_clustering_agreement_equals_scikit_learn(name):
    from sklearn import metrics

    a, b = PARTITIONS[name]
    found = clustering_agreement(a, b)
    expected = {
        "nmi": metrics.normalized_mutual_info_score(b, a),
        "ami": metrics.adjusted_mutual_info_score(b, a),
        "ari": metrics.adjusted_rand_score(b, a),
    }
    assert {key: float(value) for key, value in found.items()} == pytest.approx(expected, abs=1e-5)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_adjusted_mutual_information_equals_torchmetrics():
    from torchmetrics.functional.clustering import adjusted_mutual_info_score

    a, b = PARTITIONS["random"]
    assert float(clustering_agreement(a, b)["ami"]) == pytest.approx(float(adjusted_mutual_info_score(a, b)), abs=1e-5)


@pytest.mark.parametrize("penalty", [0.1, 1.0, 10.0])
def test_logistic_probe_equals_scikit_learn(penalty):
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    z, labels = (torch.from_numpy(t[:400]) for t in load_digits(return_X_y=True))
    z = z[:, 10:40:2] + 5  # an offset must not matter; few features, so that not all is right
    scale = StandardScaler().fit(z[:200])
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=5000).fit(scale.transform(z[:200]), labels[:200])
    found = logistic_probe(z[:200], labels[:200] * 2, z[200:], penalty=penalty)
    assert found.tolist() == (2 * theirs.predict(scale.transform(z[200:]))).tolist()
    assert 0.3 < float((found == 2 * labels[200:]).double().mean()) < 0.95


def test_logistic_probe_of_two_classes_equals_scikit_learn():
    """Rare ones on one side: the penalty moves the border, which a fine grid finds."""
    from sklearn.linear_model import LogisticRegression

    x = torch.randn(40, 1, generator=torch.Generator().manual_seed(3)).double()
    x, labels = (x - x.mean(0)) / x.std(0, correction=0), (x[:, 0] > 0.8).long()
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)[:, None]
    theirs = LogisticRegression(C=1 / 5, tol=1e-10, max_iter=5000).fit(x, labels).predict(grid)
    found = logistic_probe(x, labels, grid, penalty=5.0)
    assert 0 < int(found.sum()) < 3000
    assert int((found != torch.from_numpy(theirs)).sum()) <= 1  # the two stop a step of the grid apart at most


def test_logistic_probe_in_inference_mode_and_of_one_class():
    with torch.inference_mode():
        assert logistic_probe(torch.randn(4, 3), torch.full((4,), 7), torch.randn(2, 3)).tolist() == [7, 7]
    with pytest.raises(ValueError, match="2 rows with numbers that are not finite"):
        logistic_probe(torch.tensor([[0.0], [math.nan], [math.inf]]), torch.arange(3), torch.zeros(1, 1))


def test_staleness_by_loops_and_in_the_limits():
    stored, fresh = torch.randn(2, 40, 6, generator=G)
    age = torch.arange(40) % 13
    metric = QueueStaleness(ages=[2, 5, 9, 100])
    metric.update(stored[:7], fresh[:7], age[:7])
    metric.update(stored[7:], fresh[7:], age[7:])
    found = metric.compute()
    drift = [1 - float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(stored, fresh, strict=True)]
    bins = [
        [d for d, n in zip(drift, age.tolist(), strict=True) if lo <= n < hi] for lo, hi in ((2, 5), (5, 9), (9, 99))
    ]
    assert float(found["drift"]) == pytest.approx(sum(drift) / 40, abs=1e-5)
    assert float(found["age"]) == pytest.approx(sum(age.tolist()) / 40)
    assert found["by_age"][:3].tolist() == pytest.approx([sum(d) / len(d) for d in bins], abs=1e-5)
    assert math.isnan(found["by_age"][3])
    for factor, expected in ((3.0, 0.0), (-1.0, 2.0), (0.0, 1.0)):  # the same encoder, the opposite one, a dead one
        limit = QueueStaleness()
        limit.update(stored, factor * stored, age)
        assert float(limit.compute()["drift"]) == pytest.approx(expected, abs=1e-12)


def test_misaligned_by_loops_and_in_the_limits():
    views = torch.randn(20, 3, 4, generator=G) + 2
    unit = [[v / v.norm() for v in sample] for sample in views]
    farthest = [max(float((a - b).norm()) for a in sample for b in sample) for sample in unit]
    for eps in (0.0, 0.3, 0.8, 1.5):
        assert misaligned(views, eps).tolist() == [far > eps for far in farthest]
    assert 0 < misaligned(views, 0.8).sum() < 20
    assert not misaligned(views, 2.0).any()  # no two points of the sphere are further apart
    assert not misaligned(views[:, :1] * torch.tensor([1.0, 2.0, 5.0])[:, None], 1e-3).any()  # the length is nothing
    opposite = torch.stack([views[:, 0], -views[:, 0]], 1)
    assert misaligned(opposite, 1.99).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gradient_share(X, Y, A, B, fractions=[0.0]), r"in \(0, 1\]"),
        (lambda: gradient_share(X, Y, A, B, temperature=0.0), "temperature must be above 0"),
        (lambda: gradient_share(X, Y, A, B, anchor_ids=A), "come together"),
        (lambda: clustering_agreement(A, B), r"got \[17\] and \[31\]"),
        (lambda: logistic_probe(X, A, X, penalty=0.0), "penalty=0.0"),
        (lambda: QueueStaleness(ages=[3, 1]), "smaller ones first"),
        (lambda: QueueStaleness().update(X, X[:3], A), r"one row an entry; got \[\[17, 5\], \[3, 5\], \[17\]\]"),
        (lambda: QueueStaleness().update(X, X, A - 1), "at least 0; got -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
