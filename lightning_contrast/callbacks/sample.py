"""A few anchors of a contrast, with everything they are compared with."""

import math

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast, Scores, Similarity


def some_anchors(contrast: Contrast, rows: int, entries: int = 2**20) -> Contrast:
    """The first ``rows`` anchors; fewer, so that there are at most ``entries`` scores.

    Args:
        contrast: exchanged and prepared.
        rows: anchors wanted, > 0; rounded to whole groups that share private candidates.
        entries: anchors times candidates, at most (but one group at least).
    """
    n = contrast.anchors.rows
    sizes = [n // b.first.shape[0] for b in contrast.candidates if b.where == "private" and b.first.shape[0]]
    group = math.lcm(*sizes) if sizes else 1
    columns = max(1, sum(b.rows for b in contrast.candidates))
    rows = min(n, max(1, min(rows, entries // columns) // group) * group)
    private = iter(sizes)
    blocks = []
    for block in contrast.candidates:
        if block.where == "private" and block.first.shape[0]:
            keep = rows // next(private)
            block = block.map(lambda t, keep=keep: t[:keep])  # type: ignore[misc]
        blocks.append(block)
    return contrast.replace(anchors=contrast.anchors.map(lambda t: t[:rows]), candidates=tuple(blocks))


def as_vectors(contrast: Contrast) -> Contrast:
    """Several codes of an item side by side, where the similarity reads single tensors and so cannot read them.

    Objectives of whole batches (SepCLR) read the codes apart and ask no similarity.
    """
    codes = contrast.anchors.leaves
    reads_tuples = contrast.similarity is not None and type(contrast.similarity).tile is not Similarity.tile
    if len(codes) < 2 or reads_tuples or any(code.dim() != 2 or not code.is_floating_point() for code in codes):
        return contrast

    def joined(block: Candidates) -> Candidates:
        return block.replace(z=torch.cat([code.float() for code in block.leaves], -1))

    made = {id(block): joined(block) for block in (contrast.anchors, *contrast.candidates)}
    return contrast.replace(
        anchors=made[id(contrast.anchors)], candidates=tuple(made[id(block)] for block in contrast.candidates)
    )


@torch.no_grad()
def hardest_of(contrast: Contrast, name: str) -> Tensor | None:
    """Mean, over some anchors, of the largest similarity in the block of that name, 0-d; ``None`` without the block.

    Args:
        contrast: exchanged and prepared.
        name: of the block.
    """
    blocks = tuple(b for b in contrast.candidates if b.name == name and b.rows)
    if not blocks or not contrast.anchors.rows:
        return None
    few = some_anchors(contrast.replace(candidates=blocks), 64, 2**17)
    return Scores(few, ()).similarity.float().amax(1).mean()
