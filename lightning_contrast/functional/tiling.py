"""How large a matrix is walked in pieces: tile sizes, one thread a set of tiles, products in a chosen
precision.

The scores of `n` anchors and `m` candidates are visited as row tiles, and each row tile as column chunks of
`COLUMN_CHUNK`: small enough that a chunk stays in the second-level cache between its product, its
exponential, its sum and the products of the gradients, large enough for the matrix product to run at the
machine's rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

COLUMN_CHUNK = 1024
"""Columns of a chunk on the CPU: 256 x 1024 float32 fill the 1 MiB of a common second-level cache."""

ROW_BUFFER_BYTES = 8 * 2**20
"""Size of the buffer that holds one row tile against all columns whose gradient is wanted."""

CENTRE_SAMPLE = 128
"""Candidates from which the largest score of a row is guessed, where products are narrow."""

STORE_BYTES = 256 * 2**20
"""Largest matrix of scores that a symmetric kernel may keep between its two passes instead of computing it
twice."""

SHIFT_FREE_BOUND = 40.0
"""Up to this |logit| no maximum is subtracted: exp(40) times a million summands is far from overflow,
exp(-40) from 0."""

PARALLEL_ENTRIES = 2**20
"""Below this many scores the operators' own threads are as good as one thread a set of tiles."""

LOG2E = math.log2(math.e)
LN2 = math.log(2.0)

Tile = tuple[int, int]


def row_tiles(rows: int, columns: int, dim: int, itemsize: int, device: torch.device) -> list[Tile]:
    """Return the row ranges `(start, stop)` whose scores against `columns` fit into `ROW_BUFFER_BYTES`.

    Between 128 (256 from `dim` 384 on) and 512 rows on the CPU; on other devices up to 4096 rows and eight
    times the buffer, because a launch costs more than a cache miss there.
    """
    budget, least, most = ROW_BUFFER_BYTES, 128 if dim < 384 else 256, 512
    if device.type != "cpu":
        budget, least, most = 8 * budget, 256, 4096
    size = min(max(budget // (itemsize * max(columns, 1)), least), most)
    return spans(0, rows, size)


def chunk_width(device: torch.device) -> int:
    """Return the number of columns of one chunk on this device."""
    return COLUMN_CHUNK if device.type == "cpu" else 16 * COLUMN_CHUNK


def spans(start: int, stop: int, size: int) -> list[Tile]:
    """Cut `start:stop` into consecutive ranges of at most `size`.

    A remainder below a quarter of `size` joins its predecessor: a thin last product runs at a fraction of the
    rate.
    """
    cuts = list(range(start, stop, size))
    if len(cuts) > 1 and stop - cuts[-1] < size // 4:
        cuts.pop()
    return list(zip(cuts, [*cuts[1:], stop], strict=True)) if cuts else []


def for_tiles(
    tiles: Sequence[Tile], entries: int, device: torch.device, work: Callable[[Iterator[Tile]], None]
) -> None:
    """Call `work` with all tiles, or once a thread with every k-th of them, and wait.

    On the CPU there are `torch.get_num_threads()` threads whose operators use one thread each: a single
    barrier at the end instead of one in every operator. `work` must write to disjoint rows and own what it
    accumulates.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(tiles) == 1 or entries < PARALLEL_ENTRIES:
        work(iter(tiles))
        return
    threads = min(threads, len(tiles))

    def run(worker: int) -> None:
        torch.set_num_threads(1)
        with torch.no_grad():
            work(iter(tiles[worker::threads]))

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="contrast") as pool:
            list(pool.map(run, range(threads)))
    finally:
        torch.set_num_threads(before)  # the count of a worker would become the default of threads started later


def product_dtype(dtype: torch.dtype | None, *tensors: Tensor) -> torch.dtype:
    """Return the precision of the matrix products: `dtype`, or the widest of the tensors; float16 becomes
    float32.

    The gradients of a softmax over thousands of columns fall below the smallest normal float16, so float16 is
    a format of storage here, never of computation.
    """
    for tensor in tensors if dtype is None else ():
        dtype = tensor.dtype if dtype is None else torch.promote_types(dtype, tensor.dtype)
    if dtype is None or dtype == torch.float16:
        return torch.float32
    return dtype


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision of sums over products of `dtype`: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def scratch(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return uninitialised memory for `count` numbers.

    On the CPU large blocks come from NumPy, which asks Linux for huge pages: a page fault per 2 MiB instead
    of per 4 KiB.
    """
    if device.type != "cpu" or count < 2**20:
        return torch.empty(count, dtype=dtype, device=device)
    return torch.from_numpy(np.empty(count * torch.finfo(dtype).bits // 8, dtype=np.uint8)).view(dtype)


def row_centre(q: Tensor, candidates: Tensor, exclude: Callable[[Tensor], None]) -> Tensor:
    """Return about the largest score of each row, `[n, 1]`, from a sample of the candidates.

    What a narrow product adds to is part of it before it is rounded: minus the centre, the scores that matter are
    small numbers, and their error is small too. `exclude` writes -inf into the pairs of the sample that do not exist.
    """
    sample = candidates[:CENTRE_SAMPLE].to(q.dtype)
    scores = torch.mm(q, sample.t())
    exclude(scores)
    top = scores.amax(1, keepdim=True)
    return top.masked_fill_(top == -math.inf, 0.0)


def add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left @ right` to `out`, which may be wider than the product (bfloat16 products, float32 sums)."""
    if out.dtype == left.dtype:
        out.addmm_(left, right)
    else:
        out.add_(torch.mm(left, right))


@torch.no_grad()
def largest_logit(rows: Tensor, blocks: Sequence[Tensor], scale: Tensor | None) -> float:
    """Return an upper bound of `|scale * rows @ block.T|` by Cauchy-Schwarz; infinite where the CPU cannot
    say.

    Reading a number from another device would make the host wait for it, so there the bound is unknown.
    """
    if rows.device.type != "cpu" or not all(map(len, (rows, *blocks))):
        return math.inf
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=sum_dtype(rows.dtype))
    left = float((norms if scale is None else norms * scale.abs()).amax())
    right = max(float(torch.linalg.vector_norm(block, dim=1, dtype=sum_dtype(block.dtype)).amax()) for block in blocks)
    return left * right if math.isfinite(left * right) else math.inf


def check_vector(name: str, tensor: Tensor | None, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise a `ValueError` unless the tensor is None or has one of these shapes."""
    if tensor is not None and tuple(tensor.shape) not in shapes:
        allowed = " or ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"{name} must have shape {allowed}, got {list(tensor.shape)}")
