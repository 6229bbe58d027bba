"""The keys of a contrast that has been scored: what memories store."""

from typing import Any

import torch

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.exchange import all_sizes, gather_rows, of_all_ranks, world_size

IDS = ("query_id", "document_id")
"""Payload by which equal texts are known."""
KNOWN = ("index", "label", *IDS)
"""Payload that memories and tables keep of a sample, as far as there: by it false negatives are known."""
STORED = "stored"
"""Payload of a block whose embeddings were changed for a step: what memories store in their place, prepared."""


def gathered_keys(contrast: Contrast, pl_module: Any) -> Candidates:
    """The first block of candidates, flat ``[M, ...]``, the same rows in the same order on every process.

    Args:
        contrast: as ``on_contrast_end`` gets it.
        pl_module: the module, which knows how rows were exchanged.
    """
    block = contrast.candidates[0]
    if STORED in block.payload:
        rest = {key: value for key, value in block.payload.items() if key != STORED}
        block = block.replace(z=block.payload[STORED], payload=rest)
    # Private keys travel only with their anchors, so a row-wise objective leaves them where they are.
    exchanged = pl_module.exchange != "none" and contrast.exchange == "none"
    travelled = exchanged and (block.where == "batch" or pl_module.objective.reduction == "batch")
    if block.where == "private":
        block = block.replace(where="batch").map(lambda t: t.flatten(0, 1))
    if world_size() == 1 or block.where == "replicated":
        return block
    if pl_module.exchange == "none":  # each process counts its own positions
        block = of_all_ranks(block)
    if not travelled:
        sizes = [n for (n,) in all_sizes(block.rows, device=block.first.device)]
        block = block.map(lambda t: gather_rows(t.contiguous(), sizes))
    # Rows come rank by rank; one process has them by view and place, and a queue that overflows must drop the same ones.
    view, position = block.get("view"), block.get("position")
    order = torch.argsort(view * (position.max() + 1) + position, stable=True)
    return block.map(lambda t: t[order])
