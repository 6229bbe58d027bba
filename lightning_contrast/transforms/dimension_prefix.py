"""The first dimensions of an embedding."""

from torch import Tensor

from lightning_contrast.transforms.transform import Transform


class DimensionPrefix(Transform):
    """``z[..., :dim]``: what a truncated embedding is compared by. Cosine normalises what is left.

    All prefixes at once are trained by the objective ``Matryoshka``.

    Args:
        dim: how many dimensions stay, >= 1.

    Raises:
        ValueError: for fewer, or embeddings that are narrower.

    Example:
        >>> import torch
        >>> DimensionPrefix(8)(torch.randn(2, 4, 32)).shape
        torch.Size([2, 4, 8])
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim={dim}: must be at least 1.")
        self.dim = dim

    def forward(self, z: Tensor) -> Tensor:
        """``[..., D] -> [..., dim]``."""
        if z.shape[-1] < self.dim:
            raise ValueError(f"DimensionPrefix(dim={self.dim}) got embeddings of width {z.shape[-1]}: make them wider.")
        return z[..., : self.dim]
