"""The logistic loss of every difference between two lists of scores."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ENTRIES = 2**20
"""Differences looked at together."""


class _PairwiseLogistic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, high: Tensor, low: Tensor, high_weight: Tensor, low_weight: Tensor) -> Tensor:
        total, by_high, by_low = high.new_zeros(()), torch.zeros_like(high), torch.zeros_like(low)
        step = max(1, ENTRIES // max(1, len(low)))
        for start in range(0, len(high), step):
            part = slice(start, start + step)
            gap = low - high[part, None]
            weight = high_weight[part, None] * low_weight
            total = total + (F.softplus(gap) * weight).sum()
            slope = torch.sigmoid(gap) * weight
            by_high[part] = -slope.sum(1)
            by_low += slope.sum(0)
        ctx.save_for_backward(by_high, by_low)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_high, by_low = ctx.saved_tensors
        return grads[0] * by_high, grads[0] * by_low, None, None


def pairwise_logistic(
    high: Tensor, low: Tensor, high_weight: Tensor | None = None, low_weight: Tensor | None = None
) -> Tensor:
    """``mean_{p, n} log(1 + exp(low_n - high_p))``; over log 2 never below 1 - AUC. 0 where a list is empty.

    The gradient is made with the value, some pairs at a time: memory is that of the lists.

    Args:
        high: ``[P]``, what should be larger.
        low: ``[M]``.
        high_weight: ``[P]``, >= 0; ``None`` is 1. Without gradient.
        low_weight: ``[M]``, the same.

    Returns:
        0-d.
    """
    a = torch.ones_like(high) if high_weight is None else high_weight.detach().to(high.dtype)
    b = torch.ones_like(low) if low_weight is None else low_weight.detach().to(low.dtype)
    mass = a.sum() * b.sum()
    return _PairwiseLogistic.apply(high, low, a, b) / mass.masked_fill(mass == 0, 1.0)
