"""In-batch negatives in four directions, beside plain loops."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast
from lightning_contrast.objectives import InfoNCE, MultipleNegativesRanking
from tests.ranks import run_ranks

ALL = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")


def data(n=6, hard=2):
    generator = torch.Generator().manual_seed(0)
    q, d, h = (torch.randn(rows, 4, generator=generator, dtype=torch.float64) for rows in (n, n, n * hard))
    return q, d, h


def by_hand(q, d, h, directions, index, temperature=0.05):
    """Pairs one by one; `index` says which queries are the same item."""
    q, d, h = (F.normalize(x, dim=1) for x in (q, d, h))
    n, losses = len(q), []
    for i in range(n):
        terms = [q[i] @ d[j] for j in range(n) if j == i or index[j] != index[i]] + [q[i] @ x for x in h]
        for j in range(n):
            other = index[j] != index[i]
            if "doc_to_query" in directions and (other or j == i):
                terms.append(d[i] @ q[j])
            if "query_to_query" in directions and other:
                terms.append(q[i] @ q[j])
            if "doc_to_doc" in directions and other:
                terms.append(d[i] @ d[j])
            if "doc_to_doc" in directions and j != i:
                terms += [d[i] @ x for x in h.view(n, -1, h.shape[1])[j]]
        losses.append(torch.stack(terms).div(temperature).logsumexp(0) - q[i] @ d[i] / temperature)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("directions", [ALL, ALL[:2], (ALL[0], ALL[2]), (ALL[0], ALL[3])])
@pytest.mark.parametrize("index", [[0, 1, 2, 3, 4, 5], [0, 1, 2, 0, 4, 4]])
def test_values_with_hard_negatives_and_duplicates(directions, index):
    q, d, h = data()
    contrast = Contrast.from_pairs(q, d, negatives=h, index=torch.tensor(index))
    found = MultipleNegativesRanking(0.05, directions)(contrast)
    torch.testing.assert_close(found.double(), by_hand(q, d, h, directions, index), rtol=1e-6, atol=0)


def test_limits():
    q, d, h = data()
    contrast = Contrast.from_pairs(q, d, negatives=h)
    assert torch.equal(MultipleNegativesRanking()(contrast), InfoNCE(0.05)(contrast))
    each = MultipleNegativesRanking(0.1, ALL[:2], "per_direction")(contrast)
    assert torch.equal(each, InfoNCE(0.1, symmetric=True)(contrast))


def _rank(rank, world):
    q, d, h = data()
    rows, index = (slice(0, 4), slice(4, 6))[rank], torch.tensor([0, 1, 2, 0, 4, 4])
    q, d, h = (x.requires_grad_() for x in (q, d, h))
    hard = h.view(6, 2, 4)[rows].flatten(0, 1)
    loss = MultipleNegativesRanking(0.05, ALL)(Contrast.from_pairs(q[rows], d[rows], negatives=hard, index=index[rows]))
    loss.backward()
    return loss.detach(), torch.cat([x.grad for x in (q, d, h)])


def test_two_uneven_processes_equal_one():
    q, d, h = (x.requires_grad_() for x in data())
    wanted = by_hand(q, d, h, ALL, [0, 1, 2, 0, 4, 4])
    wanted.backward()
    gradient = torch.cat([x.grad for x in (q, d, h)])
    results = run_ranks(2, _rank)
    torch.testing.assert_close(sum(loss for loss, _ in results).double() / 2, wanted.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(sum(g for _, g in results) / 2, gradient, rtol=1e-6, atol=1e-9)


def test_misuse():
    for wrong in (
        {"directions": ("doc_to_query",)},
        {"directions": ("query_to_doc", "all")},
        {"directions": ALL, "partition_mode": "per_direction"},
        {"partition_mode": "each"},
    ):
        with pytest.raises(ValueError, match=r"directions=|partition_mode="):
            MultipleNegativesRanking(**wrong)
    q, d, h = data()
    loss = MultipleNegativesRanking(0.05, ALL)
    with pytest.raises(ValueError, match="have query_to_doc alone"):
        loss(Contrast.from_views(torch.stack([q, d])))
    with pytest.raises(ValueError, match="every query needs as many"):
        loss(Contrast.from_pairs(q, d, negatives=h[:7]))
