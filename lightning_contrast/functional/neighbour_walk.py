"""Everything within some steps of a graph of neighbours."""

import torch
from torch import Tensor


def neighbour_walk(table: Tensor, start: Tensor, first: Tensor, depth: int) -> Tensor:
    """Who is reached in at most ``depth`` steps, breadth first, without the start (Wang et al. 2020, InvP, section 3.2).

    Args:
        table: int64 ``[size, k]``, neighbours of each; negative where there is none.
        start: int64 ``[N]``.
        first: int64 ``[N, k]``, the neighbours of the starts: the first step.
        depth: steps, >= 1.

    Returns:
        int64 ``[N, k + k ** 2 + ... + k ** depth]``, each once, filled up with -1 in front.

    Example:
        >>> ring = torch.tensor([[1], [2], [3], [0]])
        >>> neighbour_walk(ring, torch.tensor([0]), ring[:1], depth=2).tolist()
        [[1, 2]]
    """
    levels = [first]
    for _ in range(depth - 1):
        before = levels[-1]
        after = table[before.clamp(min=0)].masked_fill((before < 0)[..., None], -1)
        levels.append(after.flatten(1))
    found = torch.cat(levels, dim=1)
    found = found.masked_fill(found == start[:, None], -1).sort(1).values
    again = torch.zeros_like(found, dtype=torch.bool)
    again[:, 1:] = found[:, 1:] == found[:, :-1]
    return found.masked_fill(again, -1).sort(1).values
