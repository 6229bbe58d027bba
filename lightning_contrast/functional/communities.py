"""Balanced communities of a neighbour graph."""

import numpy as np
import torch
from torch import Tensor


def communities(table: Tensor, size: int, seed: int) -> Tensor:
    """All samples in an order whose consecutive ``size`` are a community: samples that are mutual neighbours.

    The graph has an edge between ``i`` and ``j`` if either is in the other's list. A community grows from one sample by
    the one that has most edges into it, until it is full; the next begins beside it. Balanced exactly; a greedy stand-in
    for METIS, by which Thirukovalluru et al., "Breaking the Batch Barrier (B3)" (2025), cut their graph.

    Args:
        table: neighbours of each sample, integers ``[N, m]``; -1 is none.
        size: samples of a community, >= 1; the last has what is left.
        seed: of the order in which communities begin.

    Returns:
        A permutation of the samples, int64 ``[N]``.

    Example:
        >>> table = torch.tensor([[2], [3], [0], [1]])
        >>> sorted(sorted(pair) for pair in communities(table, 2, seed=0).view(2, 2).tolist())
        [[0, 2], [1, 3]]
    """
    n = len(table)
    start, to = _graph(table)
    free = np.ones(n, dtype=bool)
    inside = np.zeros(n)  # edges of each sample into the community that grows
    outside = np.diff(start).astype(float)  # its edges to samples that are free
    order = np.empty(n, dtype=np.int64)
    begins = iter(np.random.default_rng(seed).permutation(n))
    border = np.empty(0, dtype=np.int64)  # free samples beside it; may name one more than once
    for filled in range(n):
        # Of those with most edges into it the one with fewest elsewhere: it would be the first to be left alone.
        follow = int(border[(inside[border] - outside[border] / n).argmax()]) if len(border) else None
        if filled % size == 0:
            inside[border] = 0
            border = border[:0]
        if follow is None:
            follow = next(i for i in begins if free[i])
        order[filled] = follow
        free[follow] = False
        near = to[start[follow] : start[follow + 1]]
        near = near[free[near]]
        inside[near] += 1
        outside[near] -= 1
        border = np.concatenate([border[border != follow], near])
    return torch.from_numpy(order)


def _graph(table: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Undirected, each edge once in both lists: where the list of a sample starts ``[N + 1]``, and all lists."""
    n, m = table.shape
    one = torch.arange(n).repeat_interleave(m)
    two = table.flatten().long()
    one, two = one[two >= 0], two[two >= 0]
    both = torch.cat([one * n + two, two * n + one]).unique()
    start = torch.zeros(n + 1, dtype=torch.int64)
    start[1:] = torch.bincount(both // n, minlength=n).cumsum(0)
    return start.numpy(), (both % n).numpy()
