"""A head without parameters that makes features unequal."""

import torch
from torch import Tensor

from lightning_contrast.heads.head import Head


class ReweightingHead(Head):
    """``z_i = ratio^-i f_i``: a diagonal of falling weights, in training only.

    The fixed alternative to a trained projection head of Xue et al., "Investigating the Benefits of Projection Head for
    Representation Learning" (ICLR 2024): the loss sees some features strongly and others hardly, so that those keep what
    the loss would remove. Evaluation is of ``f``, as with every head.

    Sure: medium that there is such a head, low for the geometric weights: a reconstruction.

    Args:
        ratio: of neighbouring weights, >= 1; 1 is no head.
        smallest: where the weights end, in (0, 1]: beyond it they stay, so that wide features do not underflow.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> ReweightingHead(ratio=2.0)(torch.ones(1, 3))
        tensor([[1.0000, 0.5000, 0.2500]])
    """

    def __init__(self, ratio: float = 1.01, smallest: float = 1e-4) -> None:
        super().__init__()
        if not 1 <= ratio < float("inf"):
            raise ValueError(f"ratio={ratio}: must be a finite number >= 1; 1 is no head.")
        if not 0 < smallest <= 1:
            raise ValueError(f"smallest={smallest}: must lie in (0, 1].")
        self.ratio, self.smallest = float(ratio), float(smallest)

    def weights(self, x: Tensor) -> Tensor:
        """The diagonal, ``[D]``, for features ``[..., D]``."""
        place = torch.arange(x.shape[-1], dtype=x.dtype, device=x.device)
        return (self.ratio**-place).clamp(min=self.smallest)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., D] -> [..., D]``."""
        return x * self.weights(x)
