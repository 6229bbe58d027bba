"""Losses of predicted numbers against given grades, over one list."""

import torch
from torch import Tensor
from torch.nn import functional as F


def cosent(x: Tensor, y: Tensor) -> Tensor:
    """``log(1 + sum_{y_i > y_j} exp(x_j - x_i))`` (Su 2022, CoSENT). ``x, y: [n]``, 0-d."""
    gap = (x - x[:, None]).masked_fill(~(y[:, None] > y), -torch.inf).flatten()
    return torch.logsumexp(torch.cat([gap, x.new_zeros(1)]), 0)


def pearson(x: Tensor, y: Tensor) -> Tensor:
    """``1 - corr(x, y)``; 0 where either is constant. ``x, y: [n]``, 0-d."""
    if len(x) < 2:
        return x.sum() * 0
    a, b = x - x.mean(), y.to(x.dtype) - y.to(x.dtype).mean()
    square = a.square().sum() * b.square().sum()
    flat = square <= torch.finfo(x.dtype).tiny
    found = 1 - (a * b).sum() / torch.where(flat, 1.0, square).sqrt()
    return torch.where(flat, x.sum() * 0, found)


def ideal_places(y: Tensor) -> Tensor:
    """``(n - 1 - r) / (n - 1)`` of the average descending ranks ``r``; 1 for the largest, 0 for the smallest. ``[n]``."""
    n = len(y)
    rank = (y > y[:, None]).sum(1) + ((y == y[:, None]).sum(1) - 1) / 2
    return 1 - rank / max(n - 1, 1)


def rank_kl(x: Tensor, y: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``KL(softmax(g / tau) || softmax(x))`` with ``g`` the :func:`ideal_places` of ``y`` (CoDiEmb 2025). ``x`` is divided by
    its temperature already. 0-d."""
    if not len(x):
        return x.sum()
    goal = F.log_softmax(ideal_places(y).to(x.dtype) / temperature, 0)
    return (goal.exp() * (goal - F.log_softmax(x, 0))).sum()


def preference_order(x: Tensor, y: Tensor) -> Tensor:
    """Each number against those of smaller grade, by how much smaller (CoDiEmb 2025, PRO). ``x, y: [n]``, 0-d.

    ``-log softmax([x_k max_m d_m, x_m d_m, ...])[0]`` with ``d_m = y_k - y_m`` over ``y_m < y_k``, the mean over the ``k`` that
    have one; 0 without any.
    """
    below = y[:, None] > y
    gap = (y[:, None] - y).clamp(min=0).to(x.dtype)
    own = x * gap.amax(1) if len(x) else x
    others = (x * gap).masked_fill(~below, -torch.inf)
    found = torch.logsumexp(torch.cat([own[:, None], others], 1), 1) - own
    return (found * below.any(1)).sum() / below.any(1).sum().clamp(min=1)
