"""An order in which neighbours stand together."""

import numpy as np
import torch
from torch import Tensor


def neighbour_order(table: Tensor, rows: int, near: int, drawn: int, seed: int) -> Tensor:
    """All samples in an order whose consecutive ``rows`` are a batch of neighbours.

    A batch begins with a random sample that is left and takes its neighbours that are left: the ``near`` nearest, and
    ``drawn`` at random from the rest of its list. While there is room, the next random sample does the same. Deuser et
    al., "Sample4Geo" (ICCV 2023), section 3.3, where ``near = drawn = S / 2``.

    Args:
        table: neighbours of each sample, the nearest first, integers ``[N, R]`` different in a row; -1 is none.
        rows: samples of a batch, >= 1.
        near: how many of the nearest to take, >= 0.
        drawn: how many of the other ``R - near`` to take.
        seed: of the draws.

    Returns:
        A permutation of the samples, int64 ``[N]``.

    Example:
        >>> table = torch.tensor([[1], [0], [3], [2]])
        >>> sorted(sorted(pair) for pair in neighbour_order(table, 2, 1, 0, seed=0).view(2, 2).tolist())
        [[0, 1], [2, 3]]
    """
    random = np.random.default_rng(seed)
    lists = table.numpy()
    left = np.ones(len(lists), dtype=bool)
    order = np.empty(len(lists), dtype=np.int64)
    filled = 0
    for sample in random.permutation(len(lists)):
        if not left[sample]:
            continue
        order[filled] = sample
        left[sample] = False
        filled += 1
        room = -filled % rows
        if not room:
            continue
        others = lists[sample, :near]
        if drawn:
            others = np.concatenate([others, random.permutation(lists[sample, near:])[:drawn]])
        others = others[others >= 0]
        others = others[left[others]][:room]
        order[filled : filled + len(others)] = others
        left[others] = False
        filled += len(others)
    return torch.from_numpy(order)
