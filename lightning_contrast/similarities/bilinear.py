"""A trained bilinear form."""

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Similarity
from lightning_contrast.contrast.similarity import Embedding


class Bilinear(Similarity):
    """``a^T W b`` with a trained ``W`` (CPC: van den Oord et al. 2018, eq. 3; CURL: Laskin et al. 2020).

    Unbounded and not symmetric: ``reverse()`` uses ``W^T``. ``W`` starts as the identity, which is the dot product.

    Args:
        dim: width of the embeddings.

    Raises:
        ValueError: if ``dim < 1``, or embeddings have another width.

    Example:
        >>> import torch
        >>> Bilinear(2).tile(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).item()
        11.0
    """

    swappable = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim={dim}: the width of the embeddings, at least 1.")
        self.weight = nn.Parameter(torch.eye(dim))

    def matrix(self) -> Tensor:
        """``W``, ``[D, D]``."""
        return self.weight

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, D]`` against ``[m, D]`` or ``[n, m, D]``: ``[n, m]``."""
        if isinstance(a, Tensor) and a.shape[-1] != self.weight.shape[0]:
            raise ValueError(
                f"Bilinear(dim={self.weight.shape[0]}) met embeddings of width {a.shape[-1]}: make them equal."
            )
        return super().tile(a @ self.matrix().to(a.dtype) if isinstance(a, Tensor) else a, b)
