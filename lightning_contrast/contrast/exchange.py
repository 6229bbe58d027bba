"""Rows of other ranks: gathered with summed gradients, uneven sizes allowed.

Convention: every rank scores its own anchors against everybody's candidates. The backward of the gather sums the
gradient over ranks, and each rank's loss is its sum over anchors times ``world / all anchors``; the average that DDP
takes of parameter gradients is then the gradient of one process on the whole batch.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.functional.finite import NonFiniteError

if TYPE_CHECKING:
    from lightning_contrast.contrast.contrast import Contrast


STOPPED = -1
"""In place of a checksum, which is not negative: this rank cannot go on."""


def world_size() -> int:
    """Processes in the default group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_sum(value: Tensor) -> Tensor:
    """The sum over ranks, without gradient."""
    if world_size() == 1:
        return value
    out = value.detach().clone()
    dist.all_reduce(out)
    return out


def all_sizes(*numbers: int, device: torch.device) -> list[list[int]]:
    """Each rank's numbers, in rank order."""
    mine = torch.tensor(numbers, dtype=torch.int64, device=device)
    if world_size() == 1:
        return [list(numbers)]
    out = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(out, mine)
    return [t.tolist() for t in out]


def _gather(value: Tensor, sizes: list[int]) -> Tensor:
    """All ranks' rows in rank order. Short ranks are padded for the collective, which wants equal shapes."""
    wire = value.to(torch.uint8) if value.dtype == torch.bool else value
    longest = max(sizes)
    padded = wire.new_zeros((longest, *wire.shape[1:]))
    padded[: wire.shape[0]] = wire
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded.contiguous())
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)]).to(value.dtype)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        return _gather(value, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        rank = dist.get_rank()
        start = sum(ctx.sizes[:rank])
        # Half-precision sums over many ranks lose what the tiles kept in float32.
        total = grads[0].float() if grads[0].dtype in (torch.bfloat16, torch.float16) else grads[0].clone()
        total = total.contiguous()
        dist.all_reduce(total)
        return total[start : start + ctx.sizes[rank]].to(grads[0].dtype), None


def gather_rows(value: Tensor, sizes: list[int] | None = None) -> Tensor:
    """Rows ``[n, ...]`` of all ranks in rank order, ``[sum n, ...]``; differentiable, gradients summed over ranks.

    Args:
        value: rows of this rank; the number may differ from rank to rank, the other dimensions not.
        sizes: rows of each rank, when known.
    """
    if world_size() == 1:
        return value
    if sizes is None:
        sizes = [n for (n,) in all_sizes(value.shape[0], device=value.device)]
    if value.is_floating_point():
        return _GatherRows.apply(value, sizes)
    return _gather(value, sizes)


def in_turn(sizes: list[int]) -> Tensor:
    """Puts gathered rows into the order in which one process has them, since samplers deal rows out in turn.

    Example:
        >>> in_turn([3, 2]).tolist()
        [0, 3, 1, 4, 2]
    """
    place = torch.cat([torch.arange(n) * len(sizes) + rank for rank, n in enumerate(sizes)])
    return place.argsort()


@dataclass(frozen=True)
class Meeting:
    """What one rank tells the others before rows travel: the rows of each block, and which tensors it trains (bit ``i`` for
    the ``i``-th)."""

    trained: int
    rows: tuple[int, ...]


def meet(blocks: Sequence[Candidates]) -> list[Meeting]:
    """What every rank says of these blocks, in rank order. The host waits for it.

    Raises:
        NonFiniteError: if another rank has :func:`stopped`.
        RuntimeError: on every rank, if the ranks hold different blocks, payload, widths or dtypes.
    """
    said = [
        (b.name, b.where, sorted(b.payload), [(str(t.dtype), list(t.shape[1:])) for t in tensors(b)]) for b in blocks
    ]
    every = [t for b in blocks for t in tensors(b)][:62]
    trained = sum(1 << i for i, t in enumerate(every) if t.requires_grad) if torch.is_grad_enabled() else 0
    numbers = [zlib.crc32(repr(said).encode()), trained, *(b.first.shape[0] for b in blocks)]
    answers = _asked(numbers, blocks[0].first.device)
    if failed := [rank for rank, answer in enumerate(answers) if answer[0] == STOPPED]:
        raise NonFiniteError(f"embeddings of ranks {failed} are not finite; their own messages say which.")
    others = [rank for rank, answer in enumerate(answers) if answer[0] != numbers[0]]
    if others:
        raise RuntimeError(
            f"Rank {dist.get_rank()} has the blocks {said}, ranks {others} have others: blocks, payload keys, widths "
            "and dtypes must be the same on all ranks (the number of rows may differ)."
        )
    return [Meeting(a[1], tuple(a[2 : 2 + len(blocks)])) for a in answers]


def stopped(contrast: "Contrast") -> None:
    """Tells the ranks that wait in :func:`meet` that this one does not come, so that none of them waits for the time-out."""
    if world_size() > 1 and contrast.exchange != "none":
        _asked([STOPPED, 0, *(0 for _ in (contrast.anchors, *contrast.candidates))], contrast.anchors.first.device)


def _asked(numbers: list[int], device: torch.device) -> list[list[int]]:
    padded = numbers + [0] * (-len(numbers) % 16)  # equal lengths, also where ranks disagree
    return all_sizes(*padded, device=device)


def tensors(block: Candidates) -> list[Tensor]:
    """Embeddings, then payload by key: the same order on every rank."""
    return [*block.leaves, *(block.payload[key] for key in sorted(block.payload))]


def rebuilt(block: Candidates, new: Sequence[Tensor]) -> Candidates:
    """The block with other :func:`tensors`."""
    n = len(block.leaves)
    return block.replace(
        z=tuple(new[:n]) if isinstance(block.z, tuple) else new[0],
        payload=dict(zip(sorted(block.payload), new[n:], strict=True)),
    )


def exchanged(contrast: "Contrast", anchors: bool = False) -> "Contrast":
    """The contrast with every ``batch`` block gathered; with ``anchors`` also the anchors and what belongs to them.

    Positions become those of the whole batch (:func:`of_all_ranks`), so that partners are found wherever their row has
    gone. With ``exchange="ring"`` nothing else happens here: :mod:`lightning_contrast.contrast.ring` sends the blocks round.

    Raises:
        RuntimeError: on every rank, if the ranks' blocks do not fit together.
    """
    if world_size() == 1 or contrast.exchange == "none":
        return contrast
    gather = contrast.exchange == "gather"
    blocks = (contrast.anchors, *contrast.candidates)
    met = meet(blocks)
    bits = [sum(len(tensors(b)) for b in blocks[:i]) for i in range(len(blocks))]
    made: dict[tuple[int, bool], Candidates] = {}

    def sent(i: int, travels: bool) -> Candidates:
        block = blocks[i]
        key = (id(block), travels)  # anchors that are their own candidates: here local, there gathered
        if key not in made:
            made[key] = of_all_ranks(block)
            if travels:
                trained = [any(m.trained >> bits[i] + j & 1 for m in met) for j in range(len(tensors(block)))]
                made[key] = _trained_together(made[key], trained)
                if gather:
                    sizes = [m.rows[i] for m in met]
                    made[key] = rebuilt(made[key], [gather_rows(t, sizes) for t in tensors(made[key])])
        return made[key]

    moving = ("batch", "private") if anchors else ("batch",)
    for i, block in enumerate(blocks):
        if anchors and block.where == "private":
            _check_groups(block, [(m.rows[0], m.rows[i]) for m in met])
    return contrast.replace(
        anchors=sent(0, anchors),
        candidates=tuple(sent(i, b.where in moving) for i, b in enumerate(blocks) if i),
        exchange="none" if gather else contrast.exchange,
    )


def of_all_ranks(block: Candidates) -> Candidates:
    """Positions in the batch of all ranks, unique over them: samplers deal rows out in turn, row ``p`` of rank ``r`` to
    place ``p * world + r``. So whatever goes by position does what one process would do."""
    if "position" not in block.payload or block.where == "replicated":
        return block
    p = block.payload["position"]
    return block.attach(position=torch.where(p >= 0, p * world_size() + dist.get_rank(), p))


def _trained_together(block: Candidates, trained: list[bool]) -> Candidates:
    """Where one rank trains a tensor all must: each takes part in its backward, or the others would wait forever."""
    pairs = zip(tensors(block), trained, strict=True)
    return rebuilt(block, [t.detach().requires_grad_() if wanted and not t.requires_grad else t for t, wanted in pairs])


def _check_groups(block: Candidates, rows: list[tuple[int, int]]) -> None:
    """Anchors and groups of all ranks: groups must be of one size, or gathered anchors would find those of others."""
    if len({n // g for n, g in rows if g}) > 1:
        raise ValueError(
            f"Private block {block.name!r} has {[f'{n} anchors in {g} groups' for n, g in rows]} on the ranks: an "
            "objective over all anchors at once needs groups of one size."
        )
