"""Payload of candidates that are no item of the data: made up, mixed, or trained."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates


def nobodys(like: Candidates, shape: torch.Size) -> dict[str, Tensor]:
    """-1, which matches nobody, for every id and label of a block. ``[*shape]`` each.

    Args:
        like: the block whose integer payload of one number a row is taken over.
        shape: ``[M]``, or ``[G, H]`` of a private block.
    """
    lead = 2 if like.where == "private" else 1
    return {key: v.new_full(shape, -1) for key, v in like.payload.items() if v.dim() == lead and _is_id(v)}


def _is_id(value: Tensor) -> bool:
    return not value.is_floating_point() and value.dtype != torch.bool
