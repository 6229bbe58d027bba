"""What a scored contrast says of each of its anchors."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.contrast.exchange import gather_rows, world_size
from lightning_contrast.contrast.tiles import TILE_ENTRIES, narrow, split


def anchor_figures(contrast: Contrast, pl_module: Any, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """``index`` and the figures ``keys`` of the anchors of all processes, ``[N]`` each, the same on all.

    Args:
        contrast: as ``on_contrast_end`` gets it.
        pl_module: the module.
        keys: ``loss`` is the anchor's own loss, NaN where it was left out; others are payload of the anchors: figures of
            the objective, ``temperature`` where it differs by anchor, what the batch brings.

    Raises:
        ValueError: for a figure that is not one number an anchor.
    """
    anchors = contrast.anchors
    found = {"index": anchors.get("index")}
    for key in keys:
        value = anchor_losses(contrast, pl_module.objective) if key == "loss" else anchors.get(key)
        if value.shape != (anchors.rows,):
            raise ValueError(f"{key!r} must be one number an anchor, [{anchors.rows}], got {list(value.shape)}.")
        found[key] = value.detach().float() if key != "index" else value
    together = pl_module.objective.reduction == "batch" and pl_module.exchange != "none"
    if world_size() > 1 and not together:
        found = {key: gather_rows(value.contiguous()) for key, value in found.items()}
    return found


@torch.no_grad()
def anchor_losses(contrast: Contrast, objective: Any) -> Tensor:
    """The loss of each anchor ``[n]``, NaN for those left out; of an objective that is a mean over anchors."""
    n = contrast.anchors.rows
    columns = max(1, sum(block.rows for block in contrast.candidates))
    groups = [n // b.first.shape[0] for b in contrast.candidates if b.where == "private" and b.first.shape[0]]
    step = max(1, TILE_ENTRIES // columns // max(groups, default=1)) * max(groups, default=1)
    parts = [contrast.anchors.first.new_zeros(0, dtype=torch.float32)]
    for start in range(0, n, step):
        scores = Scores(narrow(contrast, start, min(n, start + step), {}, {}, [], False))
        valid = scores.has(objective.needs)
        parts.append(split(objective.rows(scores))[0].float().masked_fill(~valid, torch.nan))
    return torch.cat(parts)
