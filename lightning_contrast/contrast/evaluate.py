"""From a contrast and a function of its rows to a loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast
from lightning_contrast.contrast.direction import Direction, plain_temperature, why_not
from lightning_contrast.contrast.exchange import all_sum, exchanged, world_size
from lightning_contrast.contrast.ready import prepared, told
from lightning_contrast.contrast.ring import check_ring, ring_sum
from lightning_contrast.contrast.scores import Scores
from lightning_contrast.contrast.softmax import both_directions, direct_sum, softmax_sum
from lightning_contrast.contrast.tiles import Rows, RunTiles, Tiles, refuse_captured, split, tile_sum

Path = Literal["auto", "kernels", "dense", "tiles"]

DENSE_ENTRIES = 2**19
"""Up to this many scores one plain tile is as fast as many, and small."""


@dataclass
class Result:
    """What an objective made of a contrast.

    ``loss`` is this rank's share: its average over ranks is the mean over all anchors. ``anchors`` counts, over ranks,
    those that had what the objective needs, ``left_out`` the others. ``figures`` are per-anchor, detached. ``parts`` are
    the losses that ``loss`` is the sum of, where it is one.
    """

    loss: Tensor
    anchors: Tensor
    left_out: Tensor
    contrast: Contrast
    figures: dict[str, Tensor] = field(default_factory=dict)
    parts: tuple[Tensor, ...] = ()


def evaluate(contrast: Contrast, rows: Rows, **how: Any) -> Result:
    """The result of one direction; see :func:`evaluate_all`."""
    return evaluate_all([contrast], rows, **how)[0]


@torch.compiler.disable
def evaluate_all(
    contrasts: Sequence[Contrast],
    rows: Rows,
    *,
    needs: frozenset[str] = frozenset({"positive"}),
    params: Iterable[Tensor] = (),
    reduction: Literal["rows", "batch"] = "rows",
    form: Literal["softmax"] | None = None,
    path: Path = "auto",
) -> list[Result]:
    """For each direction, the mean of ``rows`` over the anchors that have what they need.

    Args:
        contrasts: directions, local rows.
        rows: per-anchor loss ``[n]`` of a row tile, and perhaps per-anchor figures.
        needs: ``positive`` and/or ``negative``; anchors without are left out of the mean and counted.
        params: trainable tensors that ``rows`` reads.
        reduction: ``batch``: ``rows`` sees all anchors of all ranks at once and returns the loss itself, 0-d.
        form: ``softmax``: ``rows`` is ``logsumexp - target_sum / target_mass``, which the kernels know.
        path: ``auto`` takes the kernels where they apply, else one tile while it is small, else row tiles. ``dense``
            keeps all scores in one tile (and allows second derivatives), ``tiles`` never does, ``kernels`` insists.

    Returns:
        One result a direction. Their losses add up to the right gradient; where two directions share one matrix, the
        gradient of both is carried by the first.
    """
    params = list(params)
    done: dict[int, Candidates] = {}
    with torch.autocast(contrasts[0].anchors.first.device.type, enabled=False):
        with told(contrasts[0]):
            local = [prepared(c, done) for c in contrasts]
        out: list[Result] = []
        while len(out) < len(local):
            one = local[len(out)]
            if reduction == "batch":
                out.append(_batch(one, rows))
                continue
            narrow = contrasts[len(out)].anchors.first.dtype == torch.bfloat16
            direction = Direction(one, exchanged(one), narrow)
            plain = plain_temperature(direction) if form == "softmax" else direction
            reason = (
                why_not(plain) if form == "softmax" and path in ("auto", "kernels") else "other tiles were asked for"
            )
            if path == "kernels" and reason is not None:
                raise ValueError(f"path='kernels' cannot score {one.name!r}: {reason}. Use path='auto'.")
            if reason is not None:
                out.append(_result(direction, *_generic(direction.whole, rows, needs, params, path)))
                continue
            pair = local[len(out) + 1 : len(out) + 2]
            both = both_directions(direction, Direction(pair[0], pair[0])) if pair and one is direction.whole else None
            if both is None:
                sums = (direct_sum(plain) if path == "auto" else None) or softmax_sum(plain)
                out.append(_result(direction, *sums, {}))
            else:
                out += [_result(Direction(c, c), *sums, {}) for c, sums in zip((one, pair[0]), both, strict=True)]
    return out


def _batch(contrast: Contrast, rows: Rows) -> Result:
    if contrast.exchange == "ring" and world_size() > 1:
        check_ring(contrast, rows, "batch")
    whole = exchanged(contrast, anchors=True)
    loss, figures = split(rows(Scores(whole)))
    n = torch.tensor(whole.anchors.rows, device=loss.device)
    return Result(loss, n, torch.zeros_like(n), whole, figures)


def _generic(
    whole: Contrast, rows: Rows, needs: frozenset[str], params: list[Tensor], path: Path
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Sum over anchors, their number and figures: round the ring, in one tile, or tile by tile."""
    columns = sum(b.rows for b in whole.candidates)
    entries = whole.anchors.rows * columns
    lone = "negative" in needs and columns == 1
    job = Tiles(whole, rows, needs, params)
    if whole.exchange == "ring" and world_size() > 1:
        return ring_sum(whole, rows, needs, job.trained)
    if entries and not lone and (path == "dense" or (path == "auto" and entries <= DENSE_ENTRIES)):
        total, count, figures = tile_sum(Scores(whole), rows, needs)
        refuse_captured(total, job.sources)
        # Trained payload that was gathered must take part in backward on every rank, read or not.
        touched = [t.flatten()[:0].sum() for t in job.held if t.dim() and t.requires_grad]
        return total + sum(touched), count, figures
    # Without an anchor or a candidate the sum is 0, with a graph to everything that trains.
    total = RunTiles.apply(job, *job.sources)
    return total, job.count, job.joined_figures()


def _result(direction: Direction, total: Tensor, count: Tensor, figures: dict[str, Tensor]) -> Result:
    """The mean over the anchors of all ranks, as this rank's share."""
    whole = direction.whole
    ranks = world_size() if direction.local.exchange != "none" else 1
    everyone, left_out = count, whole.anchors.rows - count
    if ranks > 1:
        everyone, left_out = all_sum(count), all_sum(left_out)
    loss = total * (ranks / everyone.clamp(min=1).to(total.dtype))
    return Result(loss, everyone, left_out, whole, figures)
