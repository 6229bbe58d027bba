"""The shortest vector between two gradients."""

from collections.abc import Sequence

import torch
from torch import Tensor


def min_norm_share(one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """``a = clip((g2 - g1) . g2 / ||g1 - g2||^2, 0, 1)``, with which ``a g1 + (1 - a) g2`` is shortest.

    MGDA's closed form for two tasks (Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018,
    eq. 4): a step along it raises neither loss, and it is 0 where no step could lower both. Equal gradients give 1/2.

    Args:
        one: the first task's gradient, in pieces.
        two: the second's, of the same shapes.

    Returns:
        0-d, in [0, 1].

    Example:
        >>> min_norm_share([torch.tensor([1.0, 0.0])], [torch.tensor([0.0, 2.0])]).item()
        0.800000011920929
    """
    pairs = list(zip(one, two, strict=True))
    if not pairs:
        raise ValueError("min_norm_share: there are no gradients to combine.")
    wide = [(a.to(torch.promote_types(a.dtype, torch.float32)), b) for a, b in pairs]
    gap = torch.stack([(a - b).square().sum() for a, b in wide]).sum()
    along = torch.stack([((b - a) * b).sum() for a, b in wide]).sum()
    return torch.where(gap > 0, along / torch.where(gap > 0, gap, 1.0), 0.5).clamp(0, 1)
