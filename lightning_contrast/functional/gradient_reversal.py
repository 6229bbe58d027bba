"""Two players, one backward pass: where the optimizer lowers the loss for one, it raises it for the other."""

from typing import Any

import torch
from torch import Tensor


def reversed_gradient(x: Tensor, scale: float = 1.0) -> Tensor:
    """``x``; its gradient is turned round and multiplied by ``scale`` (Ganin and Lempitsky 2015).

    Args:
        x: any tensor.
        scale: >= 0.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> reversed_gradient(x, 0.5).sum().backward()
        >>> x.grad
        tensor([-0.5000, -0.5000])
    """
    return _Reversed.apply(x, scale)


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * grad[0], None
