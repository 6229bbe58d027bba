"""Sinkhorn, k-means, transported prototypes."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from lightning_contrast.functional.kmeans import kmeans, nearest_centroid
from lightning_contrast.functional.sinkhorn import sinkhorn
from lightning_contrast.functional.transported_prototypes import transported_prototypes


def scores(b=12, k=4, seed=0):
    return torch.randn(b, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_sinkhorn_is_the_loop(iterations):
    s = scores()
    q = [[math.exp(x / 0.5) for x in row] for row in s.tolist()]
    b, k = s.shape
    for _ in range(iterations):
        column = [math.fsum(row[j] for row in q) for j in range(k)]
        q = [[row[j] / column[j] / k for j in range(k)] for row in q]
        q = [[x / math.fsum(row) / b for x in row] for row in q]
    torch.testing.assert_close(sinkhorn(s, 0.5, iterations), torch.tensor(q, dtype=torch.float64) * b)


def test_equal_scores_give_uniform_codes():
    torch.testing.assert_close(sinkhorn(torch.full((7, 5), 0.3)), torch.full((7, 5), 0.2))


def test_rows_sum_to_one_and_columns_are_balanced():
    q = sinkhorn(scores(), 0.3, 200)
    torch.testing.assert_close(q.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(q.sum(0), torch.full((4,), 3.0, dtype=torch.float64))


def test_a_small_epsilon_is_a_hard_assignment_in_equal_parts():
    q = sinkhorn(scores(), 2e-3, 5000)
    assert (q.max(1).values > 0.99).all()
    assert torch.bincount(q.argmax(1)).tolist() == [3, 3, 3, 3]


def test_sinkhorn_does_not_overflow():
    q = sinkhorn(torch.tensor([[1.0, -1.0], [0.9, -1.0]]), 1e-5, 50)
    assert torch.isfinite(q).all()


@pytest.mark.parametrize("bad", [{"epsilon": 0}, {"iterations": 0}, {"scores": torch.zeros(3)}])
def test_sinkhorn_checks(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        sinkhorn(**{"scores": scores(), **bad})


def test_kmeans_finds_the_digits_as_sklearn_does():
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score

    x, y = load_digits(return_X_y=True)
    z = F.normalize(torch.from_numpy(x).float(), dim=1)
    centroid, cluster = kmeans(z, 10, 50)
    theirs = KMeans(10, n_init=1, random_state=0).fit_predict(z.numpy())
    ours = normalized_mutual_info_score(y, cluster.numpy())
    assert ours > normalized_mutual_info_score(y, theirs) - 0.05
    assert torch.equal(cluster, (z @ centroid.T).argmax(1))
    torch.testing.assert_close(centroid.norm(dim=1), torch.ones(10))


def test_kmeans_is_a_fixed_point_and_keeps_its_numbers():
    z = F.normalize(scores(60, 5), dim=1)
    centroid, cluster = kmeans(z, 6, 100)
    again, same = kmeans(z, 6, 100, start=centroid)
    torch.testing.assert_close(again, centroid)
    assert torch.equal(same, cluster)
    means = torch.stack([F.normalize(z[cluster == c].sum(0), dim=0) for c in range(6)])
    torch.testing.assert_close(centroid, means)


def test_kmeans_of_as_many_clusters_as_rows():
    z = F.normalize(scores(5, 3), dim=1)
    assert sorted(kmeans(z, 5)[1].tolist()) == [0, 1, 2, 3, 4]


def test_kmeans_fills_empty_clusters():
    z = torch.tensor([[1.0, 0.0], [0.99, 0.01], [0.0, 1.0]])
    start = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # nobody is near the second
    assert torch.bincount(kmeans(z, 2, start=start)[1], minlength=2).min() > 0


def test_kmeans_in_parts(monkeypatch):
    z = F.normalize(scores(60, 5), dim=1)
    whole = nearest_centroid(z, z[:4])
    monkeypatch.setattr("lightning_contrast.functional.kmeans.ROWS", 7)
    assert torch.equal(nearest_centroid(z, z[:4])[1], whole[1])


@pytest.mark.parametrize("bad", [{"clusters": 0}, {"clusters": 13}, {"iterations": 0}, {"start": torch.zeros(2, 9)}])
def test_kmeans_checks(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kmeans(**{"z": scores(), "clusters": 2, **bad})


def test_one_query_a_class_pulls_prototypes_onto_queries():
    support = torch.eye(3, dtype=torch.float64)
    query = support[[2, 0, 1]] + 0.2
    torch.testing.assert_close(transported_prototypes(support, query, 0.002, 500), support + 0.2)


def test_transport_keeps_balance():
    """Many queries near one class: each prototype still gets its share, a third of them."""
    generator = torch.Generator().manual_seed(0)
    support, query = torch.eye(3).double(), torch.randn(30, 3, generator=generator).double()
    moved = transported_prototypes(support, query, 0.1, 500)
    torch.testing.assert_close(moved.mean(0), query.mean(0))


def test_transport_checks():
    with pytest.raises(ValueError, match="query"):
        transported_prototypes(torch.eye(3), torch.zeros(0, 3))
