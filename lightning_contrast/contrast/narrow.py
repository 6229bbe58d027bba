"""Embeddings in bfloat16: when their products may stay narrow, and the one score that must not be rounded.

A product rounded to bfloat16 is off by up to 2^-9 of itself: a logit of 14 (cosine 1 at temperature 0.07) by 0.03, a
candidate's probability by 3 %. Errors of many candidates average out, that of a partner does not: its gradient is
``p - 1``, next to nothing once training succeeds. So partners leave the product and become a column of their own, in
float32, and where temperatures are lower or candidates few everything is float32.
"""

import torch
from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.direction import Direction
from lightning_contrast.contrast.payload_only import PayloadPair
from lightning_contrast.contrast.target import Paired
from lightning_contrast.functional.exclusion import Exclusion

NARROW_BOUND = 1.3
"""Largest |logit| whose products may be bfloat16, times the root of the width: temperature 0.07 for cosine of 128 numbers.

Two rows of unit length rounded to 2^-9 have a product that is off by about 2^-9 / sqrt(width), a logit by that over the
temperature: 0.25 % here. In clusters of near neighbours, whose pulls nearly cancel, a gradient was seen off by 1.2 %,
elsewhere by 0.5 %."""

NARROW_ENTRIES = 2**22
"""From this many scores on. Fewer do not average out, and gain little."""


def narrow_products(d: Direction, bound: float | None) -> torch.dtype | None:
    """bfloat16 where the kernels may multiply in it, else ``None``: the widest of what they are given."""
    entries = d.whole.anchors.rows * sum(b.rows for b in d.shared)
    most = NARROW_BOUND * d.whole.anchors.first.shape[-1] ** 0.5
    fits = bound is not None and bound <= most and entries >= NARROW_ENTRIES
    return torch.bfloat16 if d.narrow and fits and type(d.whole.target) is Paired else None


def partners_apart(d: Direction, logit: Tensor, mass: Tensor | None) -> tuple[Tensor, Exclusion] | None:
    """The partner's logit with its log-weights as a column ``[n, 1]``, and what takes partners (and the anchor itself, and
    equal items) out of the first block; ``None`` where an anchor may have several partners, or they are not easy to find.

    Args:
        d: a direction with the target :class:`Paired`, partners in the first shared block.
        logit: ``[n]``, the sum of the partners' logits.
        mass: ``[n]``, how many partners there are; ``None``: one each, in the anchor's own row of the local block.
    """
    first, block = d.local.candidates[0], d.whole.candidates[0]
    rules = [r for r in d.whole.rules if r.kind == "log_weight" and r.applies_to(block.name)]
    if mass is not None:
        on_host = mass.device.type == "cpu"  # asking another device would make the host wait
        if rules or not on_host or bool((mass > 1).any()) or not _one_item(block):
            return None
        logit = logit.masked_fill(mass == 0, -torch.inf)
    column = logit[:, None]
    if rules:
        pair = PayloadPair(d.local.replace(candidates=()), first.map(lambda t: t.unsqueeze(1)).replace(where="private"))
        column = column + sum(pair.apply(r) for r in rules)
    ids = (_item(d.whole.anchors), _item(block))
    if mass is None:  # row i of the anchors and row i of the local block
        known = all("index" in b.payload for b in (d.whole.anchors, block))
        return column, Exclusion(diagonal=own_rows(d), same=ids if known else None)
    return column, Exclusion(diagonal=own_rows(d) if d.local.is_self else None, same=ids)


def own_rows(d: Direction) -> int:
    """Where this rank's rows begin in the first block, which may have been gathered."""
    anchors, block = d.whole.anchors, d.whole.candidates[0]
    if block.rows == d.local.candidates[0].rows:
        return 0
    found = block.get("position") == anchors.get("position")[0]
    if d.local.is_self:
        found &= block.get("view") == anchors.get("view")[0]
    return int(found.nonzero()[0])


def _item(block: Candidates) -> Tensor:
    """One id for all rows of an item, and for all views of a place in the step where the item is not known."""
    index, position = block.get("index"), block.get("position")
    return torch.where(index >= 0, 2 * index, torch.where(position >= 0, 2 * position + 1, -1))


def _one_item(block: Candidates) -> bool:
    """Whether partners have one id."""
    order = block.get("position").argsort(stable=True)
    place, item = block.get("position")[order], _item(block)[order]
    return bool(((place[1:] != place[:-1]) | (item[1:] == item[:-1]) | (place[1:] < 0)).all())
