"""Balanced soft assignment of samples to prototypes."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    r"""Codes :math:`q \propto e^{s / \epsilon}`, scaled in turn so that every prototype gets an equal share of the samples
    and every sample's code sums to 1 (Sinkhorn-Knopp; Cuturi 2013; Caron et al. 2020, SwAV, eq. 3 to 5).

    Sums are taken of logarithms, so that no temperature overflows. The last scaling is the samples': rows sum to 1
    exactly, columns to ``B / K`` in the limit. For ``epsilon -> 0`` the assignment is hard, in equal parts.

    Args:
        scores: ``[B, K]``, similarities of samples to prototypes (of distances pass their negative). On several processes
            gather the samples first: the assignment balances all of them.
        epsilon: > 0; smaller is sharper and needs more iterations.
        iterations: of both scalings, >= 1.

    Returns:
        ``[B, K]``, float32 or wider, without gradient.

    Raises:
        ValueError: for values out of range, or scores that are no matrix.

    Example:
        >>> sinkhorn(torch.zeros(3, 2)).tolist()
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    if scores.dim() != 2 or not scores.is_floating_point():
        raise ValueError(f"sinkhorn: scores must be a floating matrix [B, K], got {scores.dtype} {list(scores.shape)}.")
    if not epsilon > 0 or iterations < 1:
        raise ValueError(
            f"epsilon={epsilon}, iterations={iterations}: need epsilon > 0 (0.05) and iterations >= 1 (3)."
        )
    b, k = scores.shape
    log_q = scores.detach().to(torch.promote_types(scores.dtype, torch.float32)) / epsilon
    if not b:
        return log_q
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(0, keepdim=True) + math.log(b / k)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    return log_q.exp()
