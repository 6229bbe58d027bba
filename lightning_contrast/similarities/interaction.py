"""A small network that reads both embeddings."""

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Similarity
from lightning_contrast.contrast.similarity import Embedding, wide


class Interaction(Similarity):
    """``w^T relu(W [u, v, |u - v|, u * v] + b) + c``: the pair head of InferSent and DSE (Barkan et al., AAAI 2020, eq. 2).

    Trained, unbounded, and no product, so that it scores pairs and cannot be searched by. Memory grows with
    ``anchors x candidates x dim``: for batches of some hundreds.

    Args:
        dim: width of the embeddings, >= 1.
        hidden: of the layer between, >= 1.
        symmetric: only ``|u - v|`` and ``u * v``, which are the same with the two sides exchanged.

    Raises:
        ValueError: for a width below 1, or embeddings of another one.

    Example:
        >>> Interaction(dim=4)(torch.zeros(2, 4), torch.zeros(3, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, dim: int, hidden: int = 128, symmetric: bool = False) -> None:
        super().__init__()
        if dim < 1 or hidden < 1:
            raise ValueError(f"dim={dim}, hidden={hidden}: widths must be at least 1.")
        self.dim, self.symmetric, self.swappable = dim, symmetric, symmetric
        self.layers = nn.Sequential(nn.Linear((2 if symmetric else 4) * dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As :meth:`tile`."""
        return self.tile(a, b)

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, D]`` against ``[m, D]`` or each its own ``[n, m, D]``: ``[n, m]``."""
        if isinstance(a, tuple) or isinstance(b, tuple) or a.shape[-1] != self.dim:
            shape = "tuples" if isinstance(a, tuple) or isinstance(b, tuple) else f"width {a.shape[-1]}"
            raise ValueError(f"Interaction(dim={self.dim}) met embeddings of {shape}: make them equal.")
        dtype = wide(a, b)
        u, v = torch.broadcast_tensors(a.to(dtype)[:, None], b.to(dtype))
        sides = [] if self.symmetric else [u, v]
        pairs = torch.cat([*sides, (u - v).abs(), u * v], -1)
        return self.layers(pairs.to(next(self.layers.parameters()).dtype))[..., 0].to(dtype)
