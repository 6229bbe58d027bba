"""Orders of candidates as draws without replacement: their probability, samples, and what they are worth."""

import torch
from torch import Tensor

from lightning_contrast.functional.counter_random import counter_uniform_pairs


def log_ranking(scores: Tensor, orders: Tensor) -> Tensor:
    """``log pi(r_i | r_1 .. r_i-1) = s_{r_i} - log sum_{j >= i} exp(s_{r_j})`` of each place.

    Args:
        scores: ``[Q, C]``; ``-inf`` for candidates that are not there.
        orders: candidates from the first to the last, int64 ``[M, Q, C]``; absent ones last.

    Returns:
        ``[M, Q, C]``; 0 at places of absent candidates.

    Example:
        >>> round(log_ranking(torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[[0, 1, 2]]])).sum().item(), 5)
        -0.72087
    """
    s = scores.expand_as(orders).gather(-1, orders)
    there = s > -torch.inf
    s = s.masked_fill(~there, -1e9)  # finite, so that no gradient is 0 x inf
    rest = s.flip(-1).logcumsumexp(-1).flip(-1)
    return (s - rest).masked_fill(~there, 0.0)


def sampled_rankings(scores: Tensor, count: int, rows: Tensor, seed: int, columns: Tensor | None = None) -> Tensor:
    """Orders drawn from the Plackett-Luce distribution of the scores: sorted by score plus Gumbel noise.

    Args:
        scores: ``[Q, C]``; ``-inf`` for candidates that are not there, which come last.
        count: of orders, M >= 1.
        rows: number of each query, int64 ``[Q]``; the noise is a function of it, of the seed and of `columns`.
        seed: of the noise.
        columns: number of each candidate, int64 ``[1, C]`` or ``[Q, C]``; None counts them.

    Returns:
        int64 ``[M, Q, C]``.
    """
    if columns is None:
        columns = torch.arange(scores.shape[1], device=scores.device)[None]
    uniform = counter_uniform_pairs(rows, columns, count, seed=seed).to(scores.dtype)
    gumbel = -torch.log(-torch.log(uniform + 2.0**-25))
    return (scores + gumbel).argsort(-1, descending=True)


def advantages(relevance: Tensor, orders: Tensor, k: int, to_go: bool = True) -> Tensor:
    """nDCG@k of each order minus the mean of the others'; with `to_go` of each place what is collected from it on.

    Args:
        relevance: ``[Q, C]``, >= 0.
        orders: int64 ``[M, Q, C]``, M >= 2.
        k: cut-off.
        to_go: else every place has the whole.

    Returns:
        ``[M, Q, C]``.

    Example:
        >>> advantages(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0, 1]], [[1, 0]]]), 1)[:, 0, 0]
        tensor([ 1., -1.])
    """
    m, _, c = orders.shape
    place = torch.arange(c, device=relevance.device)
    discount = (1 / torch.log2(place.to(relevance.dtype) + 2)) * (place < k)
    ideal = (relevance.sort(-1, descending=True).values * discount).sum(-1).clamp(min=1e-12)
    gain = relevance.expand_as(orders).gather(-1, orders) * discount / ideal[None, :, None]
    utility = gain.flip(-1).cumsum(-1).flip(-1) if to_go else gain.sum(-1, keepdim=True).expand_as(gain)
    return utility - (utility.sum(0, keepdim=True) - utility) / (m - 1)
