"""Probabilities that sum to k."""

import torch
from torch import Tensor
from torch.nn import functional as F


def soft_top_k(x: Tensor, k: int, rounds: int = 60) -> Tensor:
    """``t`` with ``sum_l sigma(x_l + t) = k`` in each row, by bisection; its gradient is the implicit one.

    ``dt / dx_l = -sigma'_l / sum_m sigma'_m`` (Gupta et al. 2024, section 4). Adding a constant to a row takes it off ``t``.

    Args:
        x: ``[n, m]`` scores; ``-inf`` where there is none. Each row has more than ``k``.
        k: >= 1.
        rounds: of bisection.

    Returns:
        ``[n]``.

    Raises:
        ValueError: if a row has no more than ``k`` scores.
    """
    there = x > -torch.inf
    if k < 1 or bool((there.sum(1) <= k).any()):
        raise ValueError(f"k={k}: must be at least 1, and below the number of candidates of every anchor.")
    fixed = x.detach().double()
    # at the ends the sum is below and above k: every probability is less than 1 / m, or more than 1 - 1 / m
    low = -fixed.amax(1) - 40
    high = -fixed.masked_fill(~there, torch.inf).amin(1) + 40
    for _ in range(rounds):
        t = (low + high) / 2
        over = torch.sigmoid(fixed + t[:, None]).sum(1) > k
        low, high = torch.where(over, low, t), torch.where(over, t, high)
    t = ((low + high) / 2).to(x.dtype)
    at = x.detach() + t[:, None]
    # softmax of log sigma': also where every sigma' underflows
    share = torch.softmax((F.logsigmoid(at) + F.logsigmoid(-at)).masked_fill(~there, -torch.inf), 1)
    moved = torch.where(there, x - x.detach(), 0.0)
    return t - (share * moved).sum(1)
