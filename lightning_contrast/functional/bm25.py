"""BM25 over token numbers: what a search by words alone finds."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.topk import TopK

QUERIES = 4096
"""Queries whose tokens are held as lists at a time."""


def bm25_topk(query: Tensor, corpus: Tensor, k: int) -> TopK:
    """The k best documents of each query by BM25 (k1 1.5, b 0.75), ``[n, k]``; nothing is trained.

    Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), in Lucene's form, by the package
    ``bm25s``. Documents that share no token with the query are none of its best.

    Args:
        query: integers ``[n, L]``, padded with 0.
        corpus: integers ``[m, M]``, the same.
        k: at least 1; may exceed m.

    Returns:
        Scores and rows, best first; -inf and -1 where there are fewer.

    Raises:
        ValueError: for k < 1, or what is no table of integers.
        ImportError: without bm25s, naming the extra.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    for name, tokens in (("query", query), ("corpus", corpus)):
        if tokens.dim() != 2 or tokens.is_floating_point():
            raise ValueError(f"{name} must be token numbers, integers [n, L]; got {tokens.dtype} {list(tokens.shape)}.")
    package = require_bm25()
    scores = torch.full((len(query), k), -torch.inf)
    rows = torch.full((len(query), k), -1, dtype=torch.int64)
    if not len(query) or not bool(corpus.any()):
        return TopK(scores, rows)
    index = package.BM25()
    index.index(_words(corpus), show_progress=False)
    found = min(k, len(corpus))
    for start in range(0, len(query), QUERIES):
        part = slice(start, start + QUERIES)
        row, score = index.retrieve(_words(query[part]), k=found, show_progress=False)
        value = torch.from_numpy(score).float()
        hit = value > 0
        scores[part, :found] = value.masked_fill(~hit, -torch.inf)
        rows[part, :found] = torch.from_numpy(row).long().masked_fill(~hit, -1)
    return TopK(scores, rows)


def require_bm25() -> Any:
    """The module.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import bm25s
    except ImportError as error:
        raise ImportError('BM25 needs bm25s: pip install "lightning-contrast[bm25]".') from error
    return bm25s


def _words(tokens: Tensor) -> list[list[str]]:
    return [[str(number) for number in row if number] for row in tokens.tolist()]
