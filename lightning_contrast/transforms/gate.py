"""Dimensions switched on and off by the embedding itself."""

import torch
from torch import Tensor, nn

from lightning_contrast.transforms.transform import Transform


class Gate(Transform):
    """``z * sigmoid(W z + b)``: each row says which of its dimensions count.

    A gated linear unit (Dauphin et al. 2017, section 2) whose value is the embedding itself. It starts open: ``b`` is 2,
    ``W`` small.

    Args:
        bias: where ``b`` starts.

    Example:
        >>> import torch
        >>> Gate()(torch.randn(2, 4, 8)).shape
        torch.Size([2, 4, 8])
    """

    def __init__(self, bias: float = 2.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        self.linear = nn.LazyLinear(0, bias=False)  # as wide as what it gates

    def forward(self, z: Tensor) -> Tensor:
        """``[..., D]``."""
        if self.linear.out_features == 0:
            self.linear.out_features = z.shape[-1]
        return z * torch.sigmoid(self.linear(z) + self.bias)
