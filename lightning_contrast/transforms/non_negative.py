"""Embeddings without negative numbers."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.transforms.transform import Transform


class NonNegative(Transform):
    """``max(0, z)`` in any contrastive loss (Wang et al., "Non-negative Contrastive Learning", ICLR 2024).

    Cosines then lie in [0, 1], and the only symmetry left is to permute dimensions, so that each can have a meaning. With
    :class:`Spectral` and inner products it is symmetric non-negative matrix factorisation. With ``SupCon`` class means
    become orthogonal whatever the class sizes (Kini et al. 2023).

    Args:
        backward: ``relu``; or ``gelu``, whose gradient also reaches small negative numbers, so that dead dimensions can
            come back (the paper's re-parameterisation ``sg[relu] + gelu - sg[gelu]``).

    Raises:
        ValueError: for another ``backward``.

    Example:
        >>> import torch
        >>> NonNegative()(torch.tensor([[[-1.0, 2.0]]]))
        tensor([[[0., 2.]]])
    """

    def __init__(self, backward: Literal["relu", "gelu"] = "relu") -> None:
        super().__init__()
        if backward not in ("relu", "gelu"):
            raise ValueError(f"backward={backward!r}: use 'relu' or 'gelu'.")
        self.backward = backward

    def forward(self, z: Tensor) -> Tensor:
        """``[..., D]``, all >= 0."""
        out = F.relu(z)
        if self.backward == "relu":
            return out
        soft = F.gelu(z)
        return out.detach() + (soft - soft.detach())
