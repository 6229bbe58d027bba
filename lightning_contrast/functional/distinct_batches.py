"""Batches in which no id occurs twice."""

import torch
from torch import Tensor


def distinct_order(ids: Tensor, batches: int, rows: int, generator: torch.Generator) -> Tensor:
    """An order of samples whose every ``batches``-th entries make a batch: ``order[k::batches]`` has no id twice.

    Samples of one id stand side by side and are dealt round like cards, so ``batches`` neighbours go to as many
    batches. The sizes of the batches differ by at most one. An id with more samples than there are batches keeps a
    random ``batches`` of them; if more than ``batches * rows`` are left, a random choice of these stays.

    Args:
        ids: int64 ``[N]``.
        batches: how many, >= 1.
        rows: samples of a batch, at most.
        generator: of the draws, on the CPU.

    Returns:
        Samples, int64 ``[L]``, ``L <= min(N, batches * rows)``, each at most once.

    Example:
        >>> ids = torch.tensor([0, 0, 0, 1, 2, 3])
        >>> order = distinct_order(ids, 3, 2, torch.Generator().manual_seed(0))
        >>> sorted(sorted(ids[order[k::3]].tolist()) for k in range(3))
        [[0, 1], [0, 2], [0, 3]]
    """
    shuffled = torch.randperm(len(ids), generator=generator)
    _, group, count = ids[shuffled].unique(return_inverse=True, return_counts=True)
    rank = torch.randperm(len(count), generator=generator)
    by_group = rank[group].argsort(stable=True)
    count = count[rank.argsort()]
    place = torch.arange(len(ids)) - (count.cumsum(0) - count).repeat_interleave(count)
    order = shuffled[by_group][place < batches]
    if len(order) > batches * rows:
        kept = torch.randperm(len(order), generator=generator)[: batches * rows]
        order = order[kept.sort().values]
    return order


def full_batches(count: Tensor, rows: int) -> int:
    """The most batches of exactly ``rows`` samples of different ids.

    ``K`` batches can be filled when ``sum_g min(count_g, K) >= K rows``; the left side is concave in ``K``, so this holds
    up to some ``K`` and never after it.

    Args:
        count: samples of each id, int64 ``[G]``.
        rows: samples of a batch, >= 1.

    Example:
        >>> full_batches(torch.tensor([3, 1, 1, 1]), rows=2)
        3
        >>> full_batches(torch.tensor([9, 1, 1, 1]), rows=2)   # the nine meet only three others
        3
    """
    low, high = 0, int(count.sum()) // rows
    while low < high:
        middle = (low + high + 1) // 2
        if int(count.clamp(max=middle).sum()) >= middle * rows:
            low = middle
        else:
            high = middle - 1
    return low
