"""How far stored keys are from those of now."""

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine_drift(stored: Tensor, fresh: Tensor) -> Tensor:
    """One minus the cosine of each row with its partner, float64 ``[N]``, in [0, 2]; exact where they are nearly equal.

    Half the squared distance on the sphere; a zero row has cosine 0 with everything.

    Args:
        stored: ``[N, D]``.
        fresh: ``[N, D]``.

    Example:
        >>> cosine_drift(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, -1.0]])).tolist()
        [0.0, 2.0]
    """
    a, b = (F.normalize(t.detach().double(), dim=1) for t in (stored, fresh))
    return torch.where(a.any(1) & b.any(1), (a - b).square().sum(1) / 2, 1.0)
