"""Embeddings that are not finite, named by the samples that they are of."""

import math

import torch
from torch import Tensor

NAMED = 5


class NonFiniteError(ValueError):
    """Embeddings that hold NaN or infinity."""


def bad_rows(z: Tensor) -> Tensor:
    """Rows of ``z`` ``[N, ...]`` that are not finite, int64 ``[B]``.

    Example:
        >>> bad_rows(torch.tensor([[0.0], [torch.inf], [torch.nan]]))
        tensor([1, 2])
    """
    z = z.detach()
    if math.isfinite(z.sum().item()):  # one number for the usual case; a sum that overflows is looked at again
        return torch.zeros(0, dtype=torch.int64, device=z.device)
    return (~torch.isfinite(z).flatten(1).all(1)).nonzero()[:, 0]


def first_of(ids: Tensor) -> str:
    """The first ids, ``[B]``, in words.

    Example:
        >>> first_of(torch.arange(9))
        '0, 1, 2, 3, 4, ...'
    """
    return ", ".join(str(one) for one in ids[:NAMED].tolist()) + (", ..." if len(ids) > NAMED else "")
