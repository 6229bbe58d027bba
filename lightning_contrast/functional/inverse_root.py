"""The inverse square root of symmetric matrices, with a gradient that equal eigenvalues do not break."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _InverseRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        value, vector = torch.linalg.eigh(matrix)
        if bool((value <= 0).any()):
            raise ValueError(
                f"inverse_root: the smallest eigenvalue is {float(value.min()):.3g}, it must be > 0: use more rows than columns, "
                "or add something to the diagonal."
            )
        ctx.save_for_backward(value.sqrt(), vector)
        return vector * value.rsqrt()[..., None, :] @ vector.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # Daleckii and Krein: in the basis of the eigenvectors each entry is scaled by the divided difference of x^(-1/2)
        root, vector = ctx.saved_tensors
        a, b = root[..., :, None], root[..., None, :]
        inner = vector.mT @ ((grads[0] + grads[0].mT) / 2) @ vector
        return vector @ (-inner / (a * b * (a + b))) @ vector.mT


def inverse_root(matrix: Tensor) -> Tensor:
    """``A^(-1/2)``, symmetric, by eigenvalues; ``[..., k, k]``.

    Args:
        matrix: symmetric, positive definite.

    Raises:
        ValueError: if it is not positive definite.

    Example:
        >>> inverse_root(torch.diag(torch.tensor([4.0, 1.0])))
        tensor([[0.5000, 0.0000],
                [0.0000, 1.0000]])
    """
    return _InverseRoot.apply(matrix)
