"""Who contradicts the bias: alike in class and not in looks, or the other way round."""

import torch
from torch import Tensor


def contradicting_pairs(similarity: Tensor, label: Tensor, others: Tensor, same_class: bool, own: Tensor) -> Tensor:
    """For each row the partner of the least similarity in its class, or of the largest in another (Hwang et al. 2022).

    Args:
        similarity: of biased features, ``[N, M]``.
        label: int64 ``[N]``.
        others: labels of the candidates, int64 ``[M]``.
        same_class: which of the two.
        own: place of each row among the candidates, int64 ``[N]``, its partner where there is none.

    Returns:
        int64 ``[N]``.

    Example:
        >>> s = torch.tensor([[1.0, 0.9, 0.2], [0.9, 1.0, 0.1], [0.2, 0.1, 1.0]])
        >>> y, own = torch.tensor([0, 1, 0]), torch.arange(3)
        >>> contradicting_pairs(s, y, y, True, own).tolist(), contradicting_pairs(s, y, y, False, own).tolist()
        ([2, 1, 0], [1, 0, 1])
    """
    same = label[:, None] == others
    allowed = same if same_class else ~same
    allowed = allowed & (torch.arange(len(others), device=others.device) != own[:, None])
    score = torch.where(allowed, -similarity if same_class else similarity, -torch.inf)
    best, partner = score.max(1)
    return torch.where(best > -torch.inf, partner, own)
