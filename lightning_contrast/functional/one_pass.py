"""Row tiles against several blocks of candidates: the kernel below `row_lse`.

The scores of a row tile exist once. With E = exp(scores) and r_i = w_i / sum_j E_ij the gradients are
`da = scale r (E @ b)` and `db = E^T @ (r scale a)`: three matrix products and one exponential an entry, in
memory of one tile. Blocks that need no gradient (queues) stream through a single chunk with a running
maximum; two products remain. Exponentials are to the base 2, which the machine computes three times faster;
`log2(e)` hides in the scale.
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
    Tile,
    add_product,
    chunk_width,
    for_tiles,
    product_dtype,
    row_centre,
    row_tiles,
    scratch,
    spans,
    sum_dtype,
)

Bias = Callable[[int, Tile, Tile], Tensor | None]
"""`(block, rows, columns) -> [n, m]` additive log-weights, -inf excludes; None where the tile has none."""

WHOLE_ENTRIES = 2**18
"""Up to this many scores one tile, computed by as few operators as possible, is the fastest."""


@dataclass(frozen=True)
class OnePass:
    """What does not change between a run for the value and a second run for another upstream gradient."""

    exclude: Sequence[Exclusion | None]
    bias: Bias | None
    shift_free: bool
    dtype: torch.dtype | None

    def __call__(
        self, inputs: Sequence[MaybeTensor], weights: Sequence[MaybeTensor], needs: Sequence[bool]
    ) -> tuple[tuple[Tensor, ...], list[MaybeTensor]]:
        """Inputs: anchors, scale, further logits, and the blocks."""
        a, _, logits, *blocks = inputs
        if len(blocks) == 1 and logits is None and a is not None and blocks[0] is not None:
            product = product_dtype(self.dtype, a, blocks[0])
            entries = len(a) * len(blocks[0])
            if 0 < entries <= WHOLE_ENTRIES and product == sum_dtype(product_dtype(None, a, blocks[0])):
                return self._whole(a, inputs[1], blocks[0], weights[0], needs)
        run = _Run(self, inputs, weights[0], needs)
        return (run.lse,), run.gradients()

    def _whole(
        self, a: Tensor, scale: MaybeTensor, b: Tensor, weight: MaybeTensor, needs: Sequence[bool]
    ) -> tuple[tuple[Tensor, ...], list[MaybeTensor]]:
        """The same for one small block as one tile: as few operators as there can be."""
        kind = sum_dtype(product_dtype(self.dtype, a, b))
        x, y, rows, columns = a.to(kind), b.to(kind), (0, len(a)), (0, len(b))
        s = scale if scale is None or not scale.ndim else scale[:, None]
        q = x * (LOG2E if s is None else s.to(kind) * LOG2E)
        e = torch.mm(q, y.t())
        bias = None if self.bias is None else self.bias(0, rows, columns)
        if bias is not None:
            e.add_(bias.to(kind) * LOG2E)
        exclude = self.exclude[0]
        shift: MaybeTensor = None
        if not self.shift_free:
            if exclude is not None:
                exclude.fill(e, rows, columns, -torch.inf)
            shift = e.amax(1)
            e.sub_(_finite(shift)[:, None])
        e.exp2_()
        if self.shift_free and exclude is not None:
            exclude.fill(e, rows, columns, 0.0)
        total = e.sum(1).add_(q.sum(1), alpha=0.0)  # an infinite anchor must not look like one without candidates
        lse = (total.log2() if shift is None else total.log2().add_(shift)).mul_(LN2)
        if not any(needs):
            return (lse,), [None] * len(needs)
        assert weight is not None
        ratio = weight.to(kind) / total
        if exclude is not None or bias is not None:
            ratio.masked_fill_(total == 0, 0.0)
        ratio = ratio[:, None]
        da = torch.mm(e, y).mul_(ratio) if needs[0] or needs[1] else None
        db = torch.mm(e.t(), q.mul_(ratio * LN2)).to(b.dtype) if needs[3] else None
        dscale = (
            torch.sum(da * x, 1 if scale.ndim else (0, 1))
            if needs[1] and scale is not None and da is not None
            else None
        )
        if da is not None and s is not None:
            da.mul_(s)
        return (lse,), [da.to(a.dtype) if needs[0] and da is not None else None, dscale, None, db]


@dataclass
class _Chunk:
    """A range of columns of one block; what is kept until the row sums are known has a buffer of its own."""

    block: int
    columns: Tile
    candidates: Tensor
    dtype: torch.dtype
    kept: bool


class _Run:
    """One evaluation, all row tiles of it."""

    def __init__(
        self, kernel: OnePass, inputs: Sequence[MaybeTensor], weight: MaybeTensor, needs: Sequence[bool]
    ) -> None:
        a, self.scale, self.logits, *rest = inputs
        assert a is not None
        self.kernel, self.a, self.weight = kernel, a, weight
        self.blocks = [block for block in rest if block is not None]
        self.need_a, self.need_scale, self.need_logits, *self.need_blocks = needs
        self.sums = sum_dtype(product_dtype(None, a, *self.blocks))
        rows, width = len(a), chunk_width(a.device)
        self.chunks: list[_Chunk] = []
        for k, block in enumerate(self.blocks):
            kind = product_dtype(kernel.dtype, a, block)
            block = block.to(kind) if self.need_blocks[k] else block  # a queue is converted chunk by chunk
            for columns in spans(0, len(block), width):
                self.chunks.append(_Chunk(k, columns, block[slice(*columns)], kind, self.need_blocks[k]))
        self.chunks.sort(key=lambda chunk: chunk.kept)  # the running maximum is final before anything kept is read
        self.lse = torch.empty(rows, dtype=self.sums, device=a.device)
        self.da = torch.empty_like(a) if self.need_a else None
        self.dscale = torch.empty_like(self.lse) if self.need_scale else None
        self.dlogits = torch.empty_like(self.logits) if self.need_logits and self.logits is not None else None
        self.dblocks: list[list[MaybeTensor]] = []  # one entry a thread
        kept = sum(len(chunk.candidates) for chunk in self.chunks if chunk.kept)
        tiles = row_tiles(rows, kept or width, a.shape[1], self._itemsize(), a.device)
        self.largest = max((stop - start for start, stop in tiles), default=0)
        for_tiles(tiles, rows * sum(map(len, self.blocks)), a.device, self._tiles)

    def _itemsize(self) -> int:
        return min((torch.finfo(chunk.dtype).bits // 8 for chunk in self.chunks), default=4)

    def gradients(self) -> list[MaybeTensor]:
        """Return the gradients of anchors, scale, logits and blocks; the sums of all threads."""
        dscale, scale = self.dscale, self.scale
        if dscale is not None and scale is not None:
            dscale = (dscale.sum() if scale.ndim == 0 else dscale).to(scale.dtype)
        blocks: list[MaybeTensor] = []
        for block, parts in zip(self.blocks, zip(*self.dblocks, strict=True), strict=True):
            total = parts[0]
            for part in parts[1:]:
                total = total if total is None or part is None else total.add_(part)
            blocks.append(None if total is None else total.to(block.dtype))
        return [self.da, dscale, self.dlogits, *blocks]

    def _tiles(self, tiles: Iterator[Tile]) -> None:
        """The work of one thread: its own buffers, its own sums over rows."""
        dblocks: list[MaybeTensor] = [
            torch.zeros(block.shape, dtype=self.sums, device=block.device) if need else None
            for block, need in zip(self.blocks, self.need_blocks, strict=True)
        ]
        self.dblocks.append(dblocks)
        buffers: dict[int, Tensor] = {}
        for rows in tiles:
            self._tile(rows, dblocks, buffers)

    def _tile(self, rows: Tile, dblocks: list[MaybeTensor], buffers: dict[int, Tensor]) -> None:
        tile = slice(*rows)
        x = self.a[tile].to(self.sums)
        scale = None if self.scale is None else self.scale.to(self.sums)
        scale = scale[tile, None] if scale is not None and scale.ndim else scale
        q = x * (LOG2E if scale is None else scale * LOG2E)
        logits = None if self.logits is None else self.logits[tile].to(self.sums) * LOG2E
        base = self._base(rows, q)
        if logits is not None and base is not None:
            logits.sub_(base)
        da = torch.zeros_like(x) if self.need_a or self.need_scale else None
        total, shift, kept = self._exponentials(rows, q, base, logits, da, buffers)
        lse = total.log2() if shift is None else total.log2().add_(shift)
        self.lse[tile] = (lse if base is None else lse.add_(base[:, 0])).mul_(LN2)
        if da is None and self.dlogits is None and not any(self.need_blocks):
            return
        assert self.weight is not None
        ratio = (self.weight[tile].to(self.sums) / total).masked_fill_(total == 0, 0.0)[:, None]
        if any(self.need_blocks):
            for chunk, e in kept:
                into = dblocks[chunk.block]
                assert into is not None
                add_product(into[slice(*chunk.columns)], e.t(), (q * (ratio * LN2)).to(e.dtype))
        if self.dlogits is not None and logits is not None:
            self.dlogits[tile] = logits.mul_(ratio)
        if da is not None:
            da.mul_(ratio)
            if self.dscale is not None:
                self.dscale[tile] = (da * x).sum(1)
            if self.da is not None:
                self.da[tile] = da if scale is None else da.mul_(scale)

    def _base(self, rows: Tile, q: Tensor) -> MaybeTensor:
        """Return what is subtracted from all scores of a row before narrow products are rounded; None if all are wide."""
        narrow = next((chunk for chunk in self.chunks if chunk.dtype != self.sums), None)
        if narrow is None:
            return None
        start = narrow.columns[0]

        def exclude(scores: Tensor) -> None:
            self._exclude(narrow.block, rows, (start, start + scores.shape[1]), scores, -torch.inf)

        return row_centre(q.to(narrow.dtype), narrow.candidates, exclude).to(self.sums)

    def _exponentials(
        self,
        rows: Tile,
        q: Tensor,
        base: MaybeTensor,
        logits: MaybeTensor,
        da: MaybeTensor,
        buffers: dict[int, Tensor],
    ) -> tuple[Tensor, MaybeTensor, list[tuple[_Chunk, Tensor]]]:
        """Return row sums, what was subtracted from the exponents, and the kept exponentials; add E @ b to
        `da`."""
        total = q.sum(1).mul_(0.0)  # an infinite anchor must not look like one without candidates
        kept = {i: self._scores(i, rows, q, base, buffers) for i, chunk in enumerate(self.chunks) if chunk.kept}
        shift: MaybeTensor = None
        if not self.kernel.shift_free:
            tops = [e.amax(1).to(self.sums) for e in kept.values()]
            if logits is not None and logits.shape[1]:
                tops.append(logits.amax(1))
            shift = torch.stack(tops).amax(0) if tops else torch.full_like(total, -torch.inf)
        for i, chunk in enumerate(self.chunks):
            e = kept[i] if chunk.kept else self._scores(i, rows, q, base, buffers)
            if shift is not None and not chunk.kept:  # a running maximum
                before, shift = shift, torch.maximum(shift, e.amax(1).to(self.sums))
                factor = torch.exp2(before - _finite(shift))
                total.mul_(factor)
                if da is not None:
                    da.mul_(factor[:, None])
            wide = self._widened(e, buffers)
            if shift is not None:
                wide.sub_(_finite(shift)[:, None])
            wide.exp2_()
            if shift is None:
                self._exclude(chunk.block, rows, chunk.columns, wide, 0.0)
            total.add_(wide.sum(1))
            if wide is not e and (da is not None or chunk.kept):
                e.copy_(wide)
            if da is not None:
                add_product(da, e, chunk.candidates.to(e.dtype))
        if logits is not None:
            logits.sub_(0.0 if shift is None else _finite(shift)[:, None]).exp2_()
            total.add_(logits.sum(1))
        return total, shift, [(self.chunks[i], e) for i, e in kept.items()]

    def _scores(self, number: int, rows: Tile, q: Tensor, base: MaybeTensor, buffers: dict[int, Tensor]) -> Tensor:
        """Return the base-2 logits of one chunk, minus `base`, in a buffer that the next row tile uses again."""
        chunk = self.chunks[number]
        n, width = len(q), len(chunk.candidates)
        key = number if chunk.kept else -1
        e = self._buffer(key, (n, width), chunk.dtype, buffers)
        candidates = chunk.candidates.to(chunk.dtype).t()
        if base is None:
            torch.mm(q, candidates, out=e)
        else:
            e.copy_(-base).addmm_(q.to(chunk.dtype), candidates)
        if self.kernel.bias is not None:
            bias = self.kernel.bias(chunk.block, rows, chunk.columns)
            if bias is not None:
                wide = self._widened(e, buffers).add_(bias.to(self.sums) * LOG2E)
                e = e if wide is e else e.copy_(wide)
        if not self.kernel.shift_free:
            self._exclude(chunk.block, rows, chunk.columns, e, -torch.inf)
        return e

    def _widened(self, e: Tensor, buffers: dict[int, Tensor]) -> Tensor:
        """Return the tile itself, or a copy in the precision of sums."""
        return e if e.dtype == self.sums else self._buffer(-2, e.shape, self.sums, buffers).copy_(e)

    def _buffer(self, key: int, shape: Sequence[int], dtype: torch.dtype, buffers: dict[int, Tensor]) -> Tensor:
        count = shape[0] * shape[1]
        if key not in buffers or buffers[key].dtype != dtype or len(buffers[key]) < count:
            buffers[key] = scratch(self.largest * shape[1], dtype, self.a.device)
        return buffers[key][:count].view(*shape)

    def _exclude(self, block: int, rows: Tile, columns: Tile, e: Tensor, value: float) -> None:
        exclusion = self.kernel.exclude[block]
        if exclusion is not None:
            exclusion.fill(e, rows, columns, value)


def _finite(shift: Tensor) -> Tensor:
    """Return 0 where nothing was seen yet: -inf minus -inf is no number."""
    return shift.masked_fill(shift == -torch.inf, 0.0)
