"""Scores that serve rows and columns at once: the kernel below `symmetric_lse` and `self_lse`.

First pass: E = exp(scores), its row sums and column sums. Second pass: G = E * (r_i + c_j) with r = weight /
row sum and c = weight / column sum, then `da = G @ b` and `db = G^T @ a`. Between the passes the scores are
kept (three matrix products) or thrown away (four, in memory of one tile). Where one common shift of the
exponents could underflow, each direction has its own running maximum, and two exponentials an entry replace
one.

Of scores that are symmetric (an anchor set against itself) only the upper triangle is visited: a tile serves
its rows and, transposed, its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.fused_gradient import MaybeTensor
from lightning_contrast.functional.tiling import (
    LN2,
    LOG2E,
    STORE_BYTES,
    Tile,
    add_product,
    chunk_width,
    for_tiles,
    product_dtype,
    row_centre,
    scratch,
    spans,
    sum_dtype,
)

Bias = Callable[[Tile, Tile], Tensor | None]
"""`(rows, columns) -> [n, m]` additive log-weights, -inf excludes; None where the tile has none."""


@dataclass(frozen=True)
class TwoPass:
    """What does not change between a run for the value and a second run for another upstream gradient."""

    triangle: bool
    exclude: Exclusion | None
    bias: Bias | None
    shift_free: bool
    store: bool | None
    dtype: torch.dtype | None

    def __call__(
        self, inputs: Sequence[MaybeTensor], weights: Sequence[MaybeTensor], needs: Sequence[bool]
    ) -> tuple[tuple[Tensor, ...], list[MaybeTensor]]:
        """Inputs: rows, columns, scale, further logits of the rows, of the columns (triangle: columns are the
        rows)."""
        run = _Run(self, inputs, any(needs))
        rows = run.first_pass()
        if not any(needs):
            return rows, [None] * len(inputs)
        return rows, run.second_pass(weights, needs)


class _Run:
    def __init__(self, kernel: TwoPass, inputs: Sequence[MaybeTensor], gradients: bool) -> None:
        a, b, self.scale, self.row_logits, self.column_logits = inputs
        assert a is not None
        self.kernel, self.a, self.b = kernel, a, a if b is None else b
        self.dtype = product_dtype(kernel.dtype, self.a, self.b)
        self.sums = sum_dtype(product_dtype(None, self.a, self.b))
        self.candidates = self.b.to(self.dtype)
        m = len(self.b)
        self.tiles = self._row_tiles()
        self.entries = sum((stop - start) * (m - start * kernel.triangle) for start, stop in self.tiles)
        nbytes = self.entries * torch.finfo(self.dtype).bits // 8
        store = kernel.store if kernel.store is not None else nbytes <= STORE_BYTES
        self.kept: dict[Tile, Tensor] = {}
        if store and gradients:
            memory = scratch(self.entries, self.dtype, a.device)
            sizes = [(stop - start) * (m - start * kernel.triangle) for start, stop in self.tiles]
            self.kept = dict(zip(self.tiles, memory.split(sizes), strict=True))
        self.largest = max((stop - start for start, stop in self.tiles), default=0)
        self.widest = max((stop - start for tile in self.tiles for start, stop in self._chunks(tile)), default=0)
        self.rows = _LogSum(self.a, self.sums, not kernel.shift_free)
        self.columns: list[_LogSum] = []  # one a thread

    def _row_tiles(self) -> list[Tile]:
        """A triangle wants many row tiles (the diagonal blocks are computed whole), a rectangle wide ones."""
        n, dim = self.a.shape
        least, most = (128, 256) if dim < 384 else (256, 512)
        size = min(max(n // 32, 64 if n <= 2048 else least), most) if self.kernel.triangle else most
        if self.a.device.type != "cpu":
            size = 4096
        return spans(0, n, max(n, 1) if self.kernel.triangle and n <= 768 else size)

    def _chunks(self, rows: Tile) -> list[Tile]:
        width = chunk_width(self.a.device)
        if not self.kernel.triangle:
            return spans(0, len(self.b), width)
        return [rows, *spans(rows[1], len(self.b), width)]

    def _scaled(self, rows: Tile) -> Tensor:
        """Return the rows in base-2 units: `log2(e) * scale * a`."""
        x = self.a[slice(*rows)].to(self.sums)
        return x * (LOG2E if self.scale is None else self.scale.to(self.sums) * LOG2E)

    def _piece(self, rows: Tile, columns: Tile, spare: Tensor) -> Tensor:
        """Return the memory of one tile: kept until the second pass, or used again at once."""
        n, width = rows[1] - rows[0], columns[1] - columns[0]
        if not self.kept:
            return spare[: n * width].view(n, width)
        start = (columns[0] - rows[0] * self.kernel.triangle) * n
        return self.kept[rows][start : start + n * width].view(n, width)

    def _base(self, rows: Tile, q: Tensor) -> MaybeTensor:
        """Return what is subtracted from the scores of a row while narrow products are rounded; None if they are wide."""
        pairs = self.kernel.exclude

        def exclude(scores: Tensor) -> None:
            if pairs is not None:
                pairs.fill(scores, rows, (0, scores.shape[1]), -torch.inf)

        return None if self.dtype == self.sums else row_centre(q, self.candidates, exclude)

    def _scores(
        self, rows: Tile, columns: Tile, q: Tensor, base: MaybeTensor, memory: _Memory, again: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the memory of a tile, and the tile: base-2 logits, or exponentials if no shift is needed.

        The two are one unless products are narrow; then what is kept are narrow exponentials, or the products
        as they were, to which the second pass (`again`) adds the bias once more.
        """
        e = self._piece(rows, columns, memory.product)
        kept = again and bool(self.kept)
        if not kept:
            candidates = self.candidates[slice(*columns)].t()
            if base is None:
                torch.mm(q, candidates, out=e)
            else:
                e.copy_(-base).addmm_(q, candidates)
        wide = memory.widened(e)
        if kept and (wide is e or self.kernel.shift_free):
            return e, wide
        if base is not None:
            wide.add_(base)
        if self.kernel.bias is not None:
            bias = self.kernel.bias(rows, columns)
            if bias is not None:
                wide.add_(bias.to(self.sums) * LOG2E)
        if self.kernel.shift_free:
            wide.exp2_()
        if self.kernel.exclude is not None:
            self.kernel.exclude.fill(wide, rows, columns, 0.0 if self.kernel.shift_free else -torch.inf)
        return e, wide

    def _memory(self) -> _Memory:
        return _Memory(self.largest * self.widest, self.dtype, self.sums, self.a.device)

    def first_pass(self) -> tuple[Tensor, ...]:
        """Return the log-sum-exps of rows and columns, natural logarithm."""
        for_tiles(self.tiles, self.entries, self.a.device, self._first)
        found = [self.rows, *self.columns] if self.kernel.triangle else [self.rows]
        self.lse2 = [_merged(found, self.row_logits)]
        if not self.kernel.triangle:
            self.lse2.append(_merged(self.columns, self.column_logits))
        return tuple(x * LN2 for x in self.lse2)

    def _first(self, tiles: Iterator[Tile]) -> None:
        columns = _LogSum(self.b, self.sums, not self.kernel.shift_free)
        self.columns.append(columns)
        memory = self._memory()
        work = None if self.kernel.shift_free else memory.work
        for rows in tiles:
            q = self._scaled(rows).to(self.dtype)
            base = self._base(rows, q)
            for chunk in self._chunks(rows):
                e, wide = self._scores(rows, chunk, q, base, memory, again=False)
                self.rows.add(rows, wide, 1, work)
                if not (self.kernel.triangle and chunk == rows):
                    columns.add(chunk, wide, 0, work)
                if self.kept and self.kernel.shift_free and wide is not e:
                    e.copy_(wide)

    def second_pass(self, weights: Sequence[MaybeTensor], needs: Sequence[bool]) -> list[MaybeTensor]:
        """Return the gradients of rows, columns, scale and further logits."""
        need_a, need_b, need_scale, *need_logits = needs
        triangle = self.kernel.triangle
        self.lse2 = [x.masked_fill(x == -torch.inf, torch.inf) for x in self.lse2]  # no candidates: exponentials are 0
        self.weights = [w.to(self.sums) for w in weights if w is not None]
        self.ratios = [w * torch.exp2(-x) for w, x in zip(self.weights, self.lse2, strict=True)]
        want_rows, want_columns = need_a or need_scale, need_b or (triangle and (need_a or need_scale))
        self.da = torch.empty_like(self.a, dtype=self.sums) if want_rows else None
        self.db: list[Tensor] = []
        self.want_columns = want_columns
        for_tiles(self.tiles, self.entries, self.a.device, self._second)
        db = self.db.pop() if self.db else None
        for other in self.db:
            db = other if db is None else db.add_(other)
        da = self.da
        if triangle and da is not None and db is not None:
            da, db = da.add_(db), None
        dscale = None
        if da is not None and self.scale is not None:
            if need_scale:
                dot = torch.einsum("nd,nd->", da, self.a.to(self.sums))
                dscale = (dot * (0.5 if triangle else 1.0)).to(self.scale.dtype)
            da.mul_(self.scale.to(self.sums))
        logits = [
            torch.exp2(x.to(self.sums) * LOG2E - self.lse2[k][:, None]).mul_(self.weights[k][:, None]).to(x.dtype)
            if need and x is not None
            else None
            for k, (x, need) in enumerate(zip((self.row_logits, self.column_logits), need_logits, strict=True))
        ]
        return [
            da.to(self.a.dtype) if need_a and da is not None else None,
            db.to(self.b.dtype) if need_b and db is not None else None,
            dscale,
            *logits,
        ]

    def _second(self, tiles: Iterator[Tile]) -> None:
        db = torch.zeros(self.b.shape, dtype=self.sums, device=self.b.device) if self.want_columns else None
        if db is not None:
            self.db.append(db)
        memory = self._memory()
        for rows in tiles:
            q = self._scaled(rows)
            x = (self.a[slice(*rows)] if self.kernel.triangle else q * LN2).to(self.dtype)
            q = q.to(self.dtype)
            base = None if self.kept and self.kernel.shift_free else self._base(rows, q)
            da = None if self.da is None else self.da[slice(*rows)].zero_()
            for chunk in self._chunks(rows):
                e, wide = self._scores(rows, chunk, q, base, memory, again=True)
                self._to_coefficients(rows, chunk, wide, memory.work[: e.numel()].view(e.shape))
                g = e if wide is e else e.copy_(wide)
                columns = slice(*chunk)
                if da is not None:
                    add_product(da, g, self.candidates[columns])
                if db is not None and not (self.kernel.triangle and chunk == rows):
                    add_product(db[columns], g.t(), x)

    def _to_coefficients(self, rows: Tile, columns: Tile, e: Tensor, work: Tensor) -> None:
        """Turn a tile into G, the derivative of the weighted sum by the scores."""
        i, j = slice(*rows), slice(*columns)
        if self.kernel.shift_free:
            row, column = self.ratios[0], self.ratios[-1]
            e.mul_(torch.add(row[i, None], column[None, j], out=work))
            return
        of_rows, of_columns = self.lse2[0], self.lse2[-1]
        torch.sub(e, of_columns[None, j], out=work).exp2_().mul_(self.weights[-1][None, j])
        e.sub_(of_rows[i, None]).exp2_().mul_(self.weights[0][i, None]).add_(work)


class _Memory:
    """What one thread needs for a tile: the product, its widened copy where products are narrow, and working
    space."""

    def __init__(self, size: int, product: torch.dtype, sums: torch.dtype, device: torch.device) -> None:
        self.product = scratch(size, product, device)
        self.work = scratch(size, sums, device)
        self._wide = self.work if product == sums else scratch(size, sums, device)

    def widened(self, e: Tensor) -> Tensor:
        """Return the tile itself, or a copy in the precision of sums."""
        return e if e.dtype == self._wide.dtype else self._wide[: e.numel()].view(e.shape).copy_(e)


class _LogSum:
    """Running sums of exponentials along rows or columns, each with the maximum that was subtracted."""

    def __init__(self, of: Tensor, dtype: torch.dtype, shifted: bool) -> None:
        self.sum = of.sum(1, dtype=dtype).mul_(0.0)  # an infinite row must not look like one without candidates
        self.top = torch.full_like(self.sum, -torch.inf) if shifted else None  # now: threads share the one of the rows

    def add(self, where: Tile, e: Tensor, dim: int, work: MaybeTensor) -> None:
        """Add a tile: exponentials if there is no `work` memory, else logits."""
        total = self.sum[slice(*where)]
        if work is None or self.top is None:
            total.add_(e.sum(dim))
            return
        top = self.top[slice(*where)]
        new = torch.maximum(top, e.amax(dim))
        finite = new.masked_fill(new == -torch.inf, 0.0)
        work = torch.sub(e, finite.unsqueeze(dim), out=work[: e.numel()].view(e.shape)).exp2_()
        total.mul_(torch.exp2(top - finite)).add_(work.sum(dim))
        top.copy_(new)


def _merged(sums: Sequence[_LogSum], logits: MaybeTensor) -> Tensor:
    """Return the base-2 logarithm of all sums and further logits together."""
    parts = [s.sum.log2() if s.top is None else s.sum.log2() + s.top for s in sums]
    if logits is not None and logits.shape[1]:
        parts.append(torch.logsumexp(logits.to(parts[0].dtype), 1) * LOG2E)
    out = parts[0]
    for part in parts[1:]:
        out = torch.logaddexp2(out, part)
    return out
