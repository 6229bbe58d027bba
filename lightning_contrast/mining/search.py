"""Nearest samples of many queries: in plain torch, and with faiss for very large corpora."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from lightning_contrast.functional.exclusion import Exclusion, Ids
from lightning_contrast.functional.tiling import Tile
from lightning_contrast.functional.topk import TopK, topk

EXACT_UP_TO = 2_000_000
"""Rows of a corpus up to which ``auto`` is exact."""
Kind = Literal["auto", "exact", "approximate"]


class Search(Protocol):
    """What the mining asks of an index over a corpus."""

    def __call__(self, queries: Tensor, k: int, same: Sequence[Ids] = ()) -> TopK:
        """The k nearest rows ``[n, k]`` of each query ``[n, D]`` by dot product, the nearest first; -1 and -inf where
        there are fewer.

        Args:
            queries: of unit norm, where the cosine is meant.
            k: at least 1.
            same: pairs (ids of the queries ``[n]``, ids of the corpus ``[m]``); pairs of equal ids >= 0 do not exist.
        """


def search_over(corpus: Tensor, kind: Kind = "auto", seed: int = 0) -> Search:
    """The search over ``corpus [m, D]``.

    Args:
        corpus: float, of unit norm where the cosine is meant.
        kind: ``exact``, ``approximate`` (needs faiss), or ``auto``: exact up to two million rows, and where faiss is not
            installed.
        seed: of the approximate index.

    Raises:
        ValueError: for another kind.
        ImportError: for ``approximate`` without faiss, naming the extra.
    """
    check_kind(kind)
    if kind == "exact" or (kind == "auto" and len(corpus) <= EXACT_UP_TO):
        return TiledSearch(corpus)
    if kind == "auto" and not faiss_installed():
        warnings.warn(
            f'Searching all of {len(corpus)} rows, which takes long; pip install "lightning-contrast[faiss]" brings an '
            "approximate index.",
            stacklevel=2,
        )
        return TiledSearch(corpus)
    return ApproximateSearch(corpus, seed)


def check_kind(kind: str) -> None:
    """Whether there is such a search here.

    Raises:
        ValueError: for another kind.
        ImportError: for ``approximate`` without faiss, naming the extra.
    """
    if kind not in ("auto", "exact", "approximate"):
        raise ValueError(f"search={kind!r}: use 'auto', 'exact' or 'approximate'.")
    if kind == "approximate":
        require_faiss()


def faiss_installed() -> bool:
    """Whether the approximate search is at hand."""
    try:
        import faiss  # noqa: F401
    except ImportError:
        return False
    return True


def require_faiss() -> Any:
    """The module.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "search='approximate' needs faiss: pip install \"lightning-contrast[faiss]\"; search='exact' needs nothing."
        ) from error
    return faiss


class TiledSearch:
    """All scores, tile by tile.

    Args:
        corpus: ``[m, D]``.
    """

    def __init__(self, corpus: Tensor) -> None:
        self.corpus = corpus

    def __call__(self, queries: Tensor, k: int, same: Sequence[Ids] = ()) -> TopK:
        """See :class:`Search`."""
        exclude = _AnyOf([Exclusion(same=_known(ids)) for ids in same]) if same else None
        return topk(queries, self.corpus, k, exclude=exclude)


class ApproximateSearch:
    """An inverted file (faiss ``IndexIVFFlat``): the corpus in ``4 sqrt(m)`` cells, of which an eighth is looked into.

    Scores are exact, neighbours may be missed. Seeded. Equal ids are taken out of a longer list; where too few are left it
    is made longer, and more cells are looked into.

    Args:
        corpus: ``[m, D]``.
        seed: of the clustering, >= 0.

    Raises:
        ImportError: without faiss, naming the extra.
    """

    def __init__(self, corpus: Tensor, seed: int = 0) -> None:
        faiss = require_faiss()
        rows = corpus.detach().float().cpu().contiguous().numpy()
        cells = max(1, min(int(4 * math.sqrt(len(rows))), len(rows) // 39))  # faiss wants 39 rows a cell to learn from
        quantizer = faiss.IndexFlatIP(rows.shape[1])
        self.index = faiss.IndexIVFFlat(quantizer, rows.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        self.index.cp.seed = seed % 2**31 + 1
        self.index.train(rows)
        self.index.add(rows)
        self.size, self.cells = len(rows), cells

    def __call__(self, queries: Tensor, k: int, same: Sequence[Ids] = ()) -> TopK:
        """See :class:`Search`."""
        n, device = len(queries), queries.device
        scores = torch.full((n, k), -torch.inf, device=device)
        rows = torch.full((n, k), -1, dtype=torch.int64, device=device)
        waiting, longer = torch.arange(n, device=device), min(k + 2 * bool(same), self.size)
        probes = min(self.cells, max(16, self.cells // 8))
        while len(waiting):
            self.index.nprobe = probes
            found = self.index.search(queries[waiting].detach().float().cpu().contiguous().numpy(), longer)
            score, row = (torch.from_numpy(a).to(device) for a in found)
            gone = row < 0
            for mine, theirs in same:
                ids = mine[waiting, None]
                gone |= (theirs[row.clamp(min=0)] == ids) & (ids >= 0)
            best = score.masked_fill(gone, -torch.inf).topk(min(k, longer), dim=1)
            scores[waiting, : min(k, longer)] = best.values
            rows[waiting, : min(k, longer)] = row.gather(1, best.indices).masked_fill(best.values == -torch.inf, -1)
            if longer == self.size and probes == self.cells:
                break
            waiting = waiting[(~gone).sum(1) < k]
            longer, probes = min(4 * longer, self.size), min(4 * probes, self.cells)
        return TopK(scores, rows)


def _known(ids: Ids) -> Ids:
    return ids[0].clamp(min=-1), ids[1].clamp(min=-1)


class _AnyOf(Exclusion):
    """Pairs that one of several excludes."""

    def __init__(self, parts: Sequence[Exclusion]) -> None:
        super().__init__()
        self.parts = parts

    def fill(self, tile: Tensor, rows: Tile, columns: Tile, value: float) -> None:
        for part in self.parts:
            part.fill(tile, rows, columns, value)
