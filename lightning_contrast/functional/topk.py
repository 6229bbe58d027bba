"""Exact top-k of all scores `queries @ corpus.T`, streamed: nothing larger than one tile and k candidates a
query.

The columns of a tile are grouped into blocks, and one vectorised pass takes the maximum of each. In the first
tile the k-th largest block maximum is a lower bound of the k-th score; afterwards only blocks that reach the
running bound are looked into. So selection costs about a fifth of the matrix product instead of as much as
it. In bfloat16 somewhat more than k candidates are collected and scored again in float32, which also shows how
far off the first look was: queries for which it may have been too far are looked at again, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.tiling import Tile, check_vector, for_tiles, scratch, spans

QUERY_TILE, COLUMN_TILE = 1024, 4096
RESCORE_BYTES = 12 * 2**20
DOUBT = 1.25
"""A candidate that was not collected may be off by so many times the largest error among those that were."""
AGAIN_TILE = 64
"""Queries that are looked at twice together: those of a span that holds a doubtful one."""


class TopK(NamedTuple):
    """The best candidates of each query, best first; score -inf and index -1 where there are fewer than k."""

    scores: Tensor
    indices: Tensor


@torch.no_grad()
def topk(
    queries: Tensor,
    corpus: Tensor,
    k: int,
    *,
    exclude: Exclusion | None = None,
    ceiling: Tensor | float | None = None,
    floor: Tensor | float | None = None,
    scan: torch.dtype | None = None,
) -> TopK:
    """Return the k largest scores of each query and where they are, `[n, k]` float32 and int64; no gradient.

    Args:
        queries: `[n, D]`.
        corpus: `[m, D]`.
        k: at least 1; may exceed m.
        exclude: pairs that are no candidates: the query itself, its positives by id.
        ceiling: largest score allowed, a number or `[n]`: a false-negative margin such as 0.95 of the
            positive's score.
        floor: smallest score allowed, a number or `[n]`.
        scan: precision of the first look. None: bfloat16 where the CPU multiplies it faster and no ceiling
            asks for exact comparisons, else float32. What is returned is float32 (float64 for float64 inputs)
            in any case. Where scores lie so close together that the first look cannot tell (embeddings that have
            hardly spread), queries are looked at twice; how far off the first look is, is judged by the candidates
            that were scored again (`DOUBT`), so that float32 is the choice where no doubt is allowed.

    A score that is no number never wins.

    Raises:
        ValueError: k < 1 or shapes that do not fit together.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if queries.ndim != 2 or corpus.ndim != 2 or queries.shape[1] != corpus.shape[1]:
        shapes = f"{list(queries.shape)} and {list(corpus.shape)}"
        raise ValueError(f"queries [n, D] and corpus [m, D] must share the dimension, got {shapes}")
    n = len(queries)
    kind = torch.promote_types(torch.promote_types(queries.dtype, corpus.dtype), torch.float32)
    if scan is None:
        fast = kind == torch.float32 and ceiling is None and _multiplies_bfloat16(queries.device)
        scan = torch.bfloat16 if fast else kind
    limits = [_per_query(name, x, n, queries.device) for name, x in (("ceiling", ceiling), ("floor", floor))]
    scores = torch.full((n, k), -math.inf, dtype=kind, device=queries.device)
    indices = torch.full((n, k), -1, dtype=torch.int64, device=queries.device)

    if not len(corpus):
        return TopK(scores, indices)

    def work(tiles: Iterator[Tile]) -> None:
        first = scan
        for rows in tiles:
            tile = slice(*rows)
            above, below = (None if x is None else x[tile].to(kind) for x in limits)
            parts = queries[tile], corpus, k, first, kind, exclude, rows, above, below
            scores[tile], indices[tile], doubtful = _search(*parts)
            if doubtful > 0.25:  # then looking twice costs more than it spares
                first = kind

    for_tiles(spans(0, n, QUERY_TILE), n * len(corpus), queries.device, work)
    return TopK(scores, indices)


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Say whether 16-bit products are native here; emulated ones are slower than float32."""
    if device.type != "cpu":
        return True
    return any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def _per_query(name: str, limit: Tensor | float | None, n: int, device: torch.device) -> Tensor | None:
    if limit is None:
        return None
    tensor = torch.as_tensor(limit, device=device)
    check_vector(name, tensor, [(), (n,)])
    return tensor.expand(n)


def _search(
    queries: Tensor,
    corpus: Tensor,
    k: int,
    scan: torch.dtype,
    kind: torch.dtype,
    exclude: Exclusion | None,
    rows: Tile,
    ceiling: Tensor | None,
    floor: Tensor | None,
) -> tuple[Tensor, Tensor, float]:
    """Search for one tile of queries, once more in full precision for spans of it that hold doubtful ones; their share."""
    search = _Search(queries, corpus, k, scan, kind, exclude, rows, ceiling)
    scores, indices = search.run(floor)
    if scan == kind:
        return scores, indices, 0.0
    doubtful = search.doubtful(scores, floor)
    del search
    for start, stop in spans(0, len(doubtful), AGAIN_TILE):
        if bool(doubtful[start:stop].any()):
            part = slice(start, stop)
            limits = [None if x is None else x[part] for x in (ceiling, floor)]
            here = (rows[0] + start, rows[0] + stop)
            again = _Search(queries[part], corpus, k, kind, kind, exclude, here, limits[0])
            scores[part], indices[part] = again.run(limits[1])
    return scores, indices, float(doubtful.float().mean())


class _Search:
    """The queries of one tile, and the candidates they have found so far."""

    def __init__(
        self,
        queries: Tensor,
        corpus: Tensor,
        k: int,
        scan: torch.dtype,
        kind: torch.dtype,
        exclude: Exclusion | None,
        rows: Tile,
        ceiling: Tensor | None,
    ) -> None:
        self.queries, self.corpus, self.k, self.kind = queries, corpus, k, kind
        self.scan, self.exclude, self.rows, self.ceiling = scan, exclude, rows, ceiling
        self.wanted = k if scan == kind else math.ceil(1.25 * k) + 8
        n, device = len(queries), queries.device
        self.room = 4 * self.wanted
        self.found = torch.full((n, self.room), -math.inf, dtype=kind, device=device)
        self.where = torch.full((n, self.room), -1, dtype=torch.int64, device=device)
        self.filled = torch.zeros(n, dtype=torch.int64, device=device)
        self.bound = torch.full((n,), -math.inf, dtype=kind, device=device)
        self.block = 32
        while self.block > 1 and COLUMN_TILE // self.block < 1.5 * self.wanted:
            self.block //= 2

    def run(self, floor: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return scores and indices of the best k."""
        low = self.queries.to(self.scan)
        memory = scratch(len(low) * (COLUMN_TILE * 5 // 4 + self.block), self.scan, low.device)
        if floor is not None and self.scan == self.kind:
            self.bound = torch.nextafter(floor, torch.full_like(floor, -math.inf))
        for columns in spans(0, len(self.corpus), COLUMN_TILE):
            self._look(low, columns, memory)
        self._keep_best()
        scores, where = self.found[:, : self.wanted], self.where[:, : self.wanted]
        if self.scan != self.kind:
            first, scores = scores, self._rescored(where)
            self.error = (scores - first).masked_fill_(where < 0, 0.0).abs_().amax(1)
        if floor is not None:
            scores = scores.masked_fill(scores < floor[:, None], -math.inf)
        if self.ceiling is not None:
            scores = scores.masked_fill(scores > self.ceiling[:, None], -math.inf)
        best = torch.topk(scores, min(self.k, scores.shape[1]), dim=1)
        return best.values, torch.where(best.values > -math.inf, where.gather(1, best.indices), -1)

    def doubtful(self, scores: Tensor, floor: Tensor | None) -> Tensor:
        """Tell for which queries a candidate that was not collected may belong to the best k, bool `[n]`."""
        worst = scores[:, -1] if floor is None else scores[:, -1].maximum(floor)
        return ~(worst >= self.bound + DOUBT * self.error)

    def _look(self, low: Tensor, columns: Tile, memory: Tensor) -> None:
        """Score one tile of the corpus and collect the entries above the bound."""
        n, width = len(low), columns[1] - columns[0]
        groups = -(-width // self.block)
        padded = groups * self.block
        tile = memory[: n * padded].view(n, padded)
        torch.mm(low, self.corpus[slice(*columns)].to(self.scan).t(), out=tile[:, :width])
        tile[:, width:] = -math.inf
        if self.exclude is not None:
            self.exclude.fill(tile[:, :width], self.rows, columns, -math.inf)
        blocks = tile.view(n, self.block, groups)  # block g: the columns g, g + groups, g + 2 groups, ...
        top = blocks.amax(1).to(self.kind)
        too_high = None if self.ceiling is None else top > self.ceiling[:, None]
        if columns[0] == 0 and groups >= self.wanted:
            valid = top if too_high is None else top.masked_fill(too_high, -math.inf)
            bound = valid.kthvalue(groups - self.wanted + 1, dim=1).values
            self.bound = torch.maximum(self.bound, torch.nextafter(bound, torch.full_like(bound, -math.inf)))
        survivors = top > self.bound[:, None]  # a block above the ceiling may hold entries below it
        query, group = survivors.nonzero(as_tuple=True)
        entries = blocks[query, :, group].to(self.kind)
        good = entries > self.bound[query, None]
        if self.ceiling is not None:
            good &= entries <= self.ceiling[query, None]
        which, member = good.nonzero(as_tuple=True)
        if len(which):
            column = columns[0] + member * groups + group[which]
            self._collect(query[which], entries[which, member], column)

    def _collect(self, query: Tensor, score: Tensor, column: Tensor) -> None:
        """Append entries, ordered by query; make room by keeping the best."""
        count = torch.bincount(query, minlength=len(self.filled))
        if int((self.filled + count).max()) > self.room:
            self._keep_best()
            self._make_room(int((self.filled + count).max()))
        start = count.cumsum(0) - count
        place = self.filled[query] + torch.arange(len(query), device=query.device) - start[query]
        self.found[query, place] = score
        self.where[query, place] = column
        self.filled += count
        if float(self.filled.float().mean()) > 1.5 * self.wanted:
            self._keep_best()

    def _make_room(self, size: int) -> None:
        if size > self.room:
            more = (len(self.found), size - self.room)
            self.found = torch.cat([self.found, self.found.new_full(more, -math.inf)], 1)
            self.where = torch.cat([self.where, self.where.new_full(more, -1)], 1)
            self.room = size

    def _keep_best(self) -> None:
        """Keep the `wanted` best of each query; the last of them is the new bound."""
        used = min(self.room, max(int(self.filled.max()), self.wanted)) if len(self.filled) else self.wanted
        best = torch.topk(self.found[:, :used], self.wanted, dim=1)
        where = self.where[:, :used].gather(1, best.indices)
        self.found.fill_(-math.inf)
        self.found[:, : self.wanted] = best.values
        self.where[:, : self.wanted] = where
        self.filled.clamp_(max=self.wanted)
        self.bound = torch.maximum(self.bound, best.values[:, -1])

    def _rescored(self, where: Tensor) -> Tensor:
        """Return the exact scores of the candidates, a few queries at a time."""
        scores = torch.empty(where.shape, dtype=self.kind, device=where.device)
        size = max(1, RESCORE_BYTES // (4 * where.shape[1] * max(self.corpus.shape[1], 1)))
        for part in (slice(*span) for span in spans(0, len(where), size)):
            candidates = self.corpus[where[part].clamp(min=0)].to(self.kind)
            query = self.queries[part].to(self.kind)
            scores[part] = torch.bmm(candidates, query[:, :, None])[..., 0]
        return scores.masked_fill_(where < 0, -math.inf)
