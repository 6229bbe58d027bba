"""The logarithm of the mean Gaussian potential: how far a set of points is from spread out."""

import torch
from torch import Tensor

from lightning_contrast.functional.distance import squared_distance

TILE = 2048
"""Rows and columns of the one tile of pairs that is computed at a time; under autograd all are kept."""


def log_mean_exp(x: Tensor, where: Tensor) -> Tensor:
    """``log mean exp`` of the entries where ``where`` is true, 0-d; 0 if there are none."""
    if not bool(where.any()):
        return x.sum() * 0.0
    return torch.logsumexp(x.masked_fill(~where, -torch.inf).flatten(), 0) - where.sum().to(x.dtype).log()


def log_potential(z: Tensor, sharpness: float, pairs: Tensor | None = None, distinct: bool = False) -> Tensor:
    """``log mean_{(i, j) in pairs} exp(-sharpness ||z_i - z_j||^2)``, by tiles of :data:`TILE` rows and columns.

    Args:
        z: ``[N, D]``, taken as they are.
        sharpness: > 0; ``t`` of Wang and Isola (2020), ``1 / (2 tau)`` elsewhere.
        pairs: bool ``[N, N]``; ``None`` is all pairs, the diagonal included.
        distinct: only ``i < j`` (of ``pairs``): each pair once, no point with itself.

    Returns:
        0-d, ``<= 0``: 0 when all points are equal, and also when there is no pair.

    Example:
        >>> log_potential(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 2.0, distinct=True).item()
        -8.0
    """
    parts, count = [], torch.zeros((), dtype=torch.int64, device=z.device)
    tiles = list(zip(range(0, max(1, len(z)), TILE), z.split(TILE), strict=True))
    for i, left in tiles:
        for j, right in tiles:
            if distinct and j < i:
                continue
            energy = -sharpness * squared_distance(left, right)
            chosen = torch.ones_like(energy, dtype=torch.bool)
            if pairs is not None:
                chosen = pairs[i : i + len(left), j : j + len(right)]
            if distinct and i == j:
                chosen = chosen.triu(1)
            some = chosen.sum()
            if bool(some):
                parts.append(energy.masked_fill(~chosen, -torch.inf).flatten().logsumexp(0))
                count = count + some
    if not parts:
        return z.sum() * 0.0
    total = torch.stack(parts).double().logsumexp(0)
    return (total - count.double().log()).to(parts[0].dtype)
