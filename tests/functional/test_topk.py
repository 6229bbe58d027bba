import math

import pytest
import torch
from oracles import embeddings

from lightning_contrast.functional import topk as module
from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.topk import topk


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(module, "QUERY_TILE", 7)
    monkeypatch.setattr(module, "COLUMN_TILE", 64)


def brute(queries, corpus, k, exists=None, ceiling=None, floor=None):
    """Sort every row in Python; float64."""
    scores = queries.double() @ corpus.double().t()
    out = []
    for i, row in enumerate(scores.tolist()):
        entries = [
            (s, j)
            for j, s in enumerate(row)
            if (exists is None or exists[i, j])
            and (ceiling is None or s <= float(ceiling[i]))
            and (floor is None or s >= float(floor[i]))
        ]
        best = sorted(entries, reverse=True)[:k]
        out.append(best + [(-math.inf, -1)] * (k - len(best)))
    return torch.tensor([[s for s, _ in r] for r in out]), torch.tensor([[j for _, j in r] for r in out])


@pytest.mark.parametrize("k", [1, 5, 40, 100, 400])
@pytest.mark.parametrize("scan", [None, torch.float32, torch.bfloat16])
def test_equals_sorting(small_tiles, k, scan):
    queries, corpus = embeddings(20, 16, 0), embeddings(333, 16, 1)
    found = topk(queries, corpus, k, scan=scan)
    scores, indices = brute(queries, corpus, k)
    torch.testing.assert_close(found.scores, scores.float(), atol=1e-5, rtol=1e-5)
    if scan == torch.float32:
        assert torch.equal(found.indices, indices)
    else:
        assert (found.indices == indices).float().mean() > 0.999


def test_float64_and_threads(small_tiles, monkeypatch):
    monkeypatch.setattr("lightning_contrast.functional.tiling.PARALLEL_ENTRIES", 0)
    queries, corpus = embeddings(30, 8, 0, torch.float64), embeddings(500, 8, 1, torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    found = topk(queries, corpus, 10)
    torch.set_num_threads(before)
    _, indices = brute(queries, corpus, 10)
    assert found.scores.dtype == torch.float64
    assert torch.equal(found.indices, indices)


@pytest.mark.parametrize("scan", [torch.float32, torch.bfloat16])
def test_filters(small_tiles, scan):
    queries, corpus = embeddings(20, 8, 0), embeddings(300, 8, 1)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(-1, 9, (320,), generator=generator)
    exists = (ids[:20, None] != ids[None, 20:]) | (ids[:20, None] == -1)
    ceiling, floor = (
        torch.rand(20, generator=generator) * 0.5 + 0.2,
        torch.rand(20, generator=generator) * 0.3,
    )
    ceiling[3] = -2.0
    exclusion = Exclusion(same=(ids[:20], ids[20:]))
    found = topk(queries, corpus, 30, exclude=exclusion, floor=floor, scan=scan)
    scores, _ = brute(queries, corpus, 30, exists, None, floor)
    torch.testing.assert_close(found.scores, scores.float(), atol=1e-5, rtol=1e-5)
    found = topk(queries, corpus, 30, exclude=exclusion, ceiling=ceiling, floor=floor)
    scores, indices = brute(queries, corpus, 30, exists, ceiling, floor)
    torch.testing.assert_close(found.scores, scores.float(), atol=1e-5, rtol=1e-5)
    assert torch.equal(found.indices, indices)
    assert (found.indices[3] == -1).all()


def test_sorted_corpus_is_the_worst_order(small_tiles):
    # Every tile beats all before it: the bound never helps.
    corpus = torch.arange(1000.0)[:, None].expand(-1, 2) / 1000
    found = topk(torch.ones(3, 2), corpus, 20, scan=torch.float32)
    assert torch.equal(found.indices, torch.arange(999, 979, -1).expand(3, -1))


def test_ties_and_not_a_number(small_tiles):
    found = topk(torch.ones(2, 2), torch.ones(200, 2), 5, scan=torch.float32)
    assert torch.equal(found.scores, torch.full((2, 5), 2.0))
    assert all(len(set(row)) == 5 for row in found.indices.tolist())
    corpus = embeddings(200, 2, 0)
    corpus[7] = math.nan
    assert 7 not in topk(torch.ones(2, 2), corpus, 150, scan=torch.float32).indices


def test_no_queries_few_candidates_and_bad_input():
    assert topk(torch.zeros(0, 4), torch.zeros(5, 4), 3).indices.shape == (0, 3)
    found = topk(torch.ones(2, 4), torch.zeros(0, 4), 3)
    assert (found.indices == -1).all()
    assert (topk(torch.ones(2, 4), torch.ones(2, 4), 3).indices[:, 2] == -1).all()
    with pytest.raises(ValueError, match="k must be at least 1"):
        topk(torch.ones(2, 4), torch.ones(2, 4), 0)
    with pytest.raises(ValueError, match="must share the dimension"):
        topk(torch.ones(2, 4), torch.ones(2, 3), 1)
    with pytest.raises(ValueError, match=r"ceiling must have shape \[\] or \[2\]"):
        topk(torch.ones(2, 4), torch.ones(2, 4), 1, ceiling=torch.ones(3))


def test_recall_at_size():
    # Unit vectors of a 16-dimensional latent with noise: close scores, 16-bit first look.
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(16, 64, generator=generator)
    z = torch.randn(20500, 16, generator=generator) @ basis + torch.randn(20500, 64, generator=generator)
    z = torch.nn.functional.normalize(z, dim=1)
    queries, corpus = z[:500], z[500:]
    exact = (queries @ corpus.t()).topk(50, dim=1).indices
    for scan in (torch.float32, torch.bfloat16):
        found = topk(queries, corpus, 50, scan=scan).indices
        hits = (found[:, :, None] == exact[:, None, :]).any(2).float().mean()
        assert hits >= 0.9999


@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_embeddings_that_have_hardly_spread(spread):
    """Their scores differ by less than the first look in bfloat16 can tell: such queries are looked at again."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(64, generator=generator) + spread * torch.randn(9000, 64, generator=generator)
    z = torch.nn.functional.normalize(z, dim=1)
    queries, corpus, ids = z[:200], z[200:], torch.arange(8800) % 200
    scores = (queries @ corpus.t()).masked_fill(ids == torch.arange(200)[:, None], -torch.inf)
    low = (queries.bfloat16() @ corpus.bfloat16().t()).float().masked_fill(scores == -torch.inf, -torch.inf)
    worst = scores.topk(20, dim=1).values[:, -1:]
    assert (scores.gather(1, low.topk(33, dim=1).indices) >= worst).sum(1).min() < 20, "the case is too easy"
    floor = scores.topk(10, dim=1).values[:, -1].roll(1)
    for limits in ({}, {"floor": floor}):
        found = topk(
            queries, corpus, 20, scan=torch.bfloat16, exclude=Exclusion(same=(torch.arange(200), ids)), **limits
        )
        expected = scores if not limits else scores.masked_fill(scores < floor[:, None], -torch.inf)
        torch.testing.assert_close(found.scores, expected.topk(20, dim=1).values, rtol=0, atol=1e-6)
