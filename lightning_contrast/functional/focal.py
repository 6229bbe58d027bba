"""Binary cross-entropy with the easy cases turned down: focal and asymmetric."""

import torch
from torch import Tensor
from torch.nn import functional as F


def focal_loss(logit: Tensor, positive: Tensor, focus: float = 2.0, balance: float | None = 0.25) -> Tensor:
    """``-a (1 - p)^focus log p`` with ``p`` the probability of the right answer (Lin et al. 2017, eq. 5).

    Args:
        logit: any shape.
        positive: bool, the same shape.
        focus: >= 0; 0 is binary cross-entropy.
        balance: ``a`` of positives in (0, 1), ``1 - a`` of the others; ``None``: 1.

    Returns:
        The loss of every entry.

    Example:
        >>> round(focal_loss(torch.zeros(1), torch.tensor([True]), focus=2.0, balance=None).item(), 5)   # log 2 / 4
        0.17329
    """
    right = torch.where(positive, logit, -logit)
    loss = F.softplus(-right)
    if focus:
        loss = loss * torch.sigmoid(-right) ** focus
    return loss if balance is None else loss * torch.where(positive, balance, 1 - balance)


def asymmetric_loss(logit: Tensor, positive: Tensor, focus: float = 4.0, margin: float = 0.05) -> Tensor:
    """Cross-entropy of positives; negatives focal by ``max(p - margin, 0)`` (Ridnik et al. 2021, eq. 7, ``gamma+ = 0``).

    Args:
        logit: any shape.
        positive: bool, the same shape.
        focus: of negatives, >= 0.
        margin: negatives below this probability count nothing, in [0, 1).

    Returns:
        The loss of every entry.

    Example:
        >>> round(asymmetric_loss(torch.zeros(1), torch.tensor([False])).item(), 5)         # 0.45^4 (-log 0.55)
        0.02452
    """
    p = (torch.sigmoid(logit) - margin).clamp(min=0.0)
    wrong = -torch.log1p(-p) * p**focus
    return torch.where(positive, F.softplus(-logit), wrong)
