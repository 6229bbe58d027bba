"""BM25 beside its formula."""

import math
import sys

import pytest
import torch

from lightning_contrast.functional.bm25 import bm25_topk


def by_hand(query, corpus, k1=1.5, b=0.75):
    """Robertson's formula with Lucene's idf, a double loop."""
    documents = [[w for w in row if w] for row in corpus.tolist()]
    mean = sum(map(len, documents)) / len(documents)
    scores = torch.zeros(len(query), len(corpus))
    for i, row in enumerate(query.tolist()):
        for j, document in enumerate(documents):
            for word in filter(None, row):
                n = sum(word in other for other in documents)
                idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
                f = document.count(word)
                scores[i, j] += idf * f / (f + k1 * (1 - b + b * len(document) / mean))
    return scores


def tokens(rows, width, words=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    out = torch.randint(1, words, (rows, width), generator=g)
    return out.masked_fill(torch.arange(width) >= torch.randint(1, width + 1, (rows, 1), generator=g), 0)


def test_the_formula():
    pytest.importorskip("bm25s")
    query, corpus = tokens(9, 4, seed=1), tokens(30, 8)
    expected = by_hand(query, corpus)
    found = bm25_topk(query, corpus, 5)
    best = expected.topk(5)
    torch.testing.assert_close(
        found.scores, best.values.masked_fill(best.values <= 0, -torch.inf), atol=1e-4, rtol=1e-4
    )
    hit = found.indices >= 0
    torch.testing.assert_close(
        expected.gather(1, found.indices.clamp(min=0))[hit], found.scores[hit], atol=1e-4, rtol=1e-4
    )


def test_what_shares_no_word_is_not_found():
    pytest.importorskip("bm25s")
    corpus = torch.tensor([[1, 2], [1, 3], [4, 0]])
    found = bm25_topk(torch.tensor([[4, 0], [9, 9], [0, 0]]), corpus, 5)
    assert found.indices.tolist() == [[2, -1, -1, -1, -1], [-1] * 5, [-1] * 5]
    assert torch.isinf(found.scores[1:]).all()
    assert bm25_topk(torch.zeros(0, 2, dtype=torch.int64), corpus, 2).indices.shape == (0, 2)
    assert bm25_topk(corpus, torch.zeros(2, 1, dtype=torch.int64), 2).indices.tolist() == [[-1, -1]] * 3


def test_wrong_input():
    table = torch.ones(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="k must be"):
        bm25_topk(table, table, 0)
    with pytest.raises(ValueError, match="corpus must be token numbers"):
        bm25_topk(table, table.float(), 1)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    table = torch.ones(2, 2, dtype=torch.int64)
    with pytest.raises(ImportError, match=r"lightning-contrast\[bm25\]"):
        bm25_topk(table, table, 1)
