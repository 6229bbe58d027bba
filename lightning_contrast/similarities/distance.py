"""Distances as similarities: the nearer, the larger."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Similarity
from lightning_contrast.contrast.similarity import Embedding
from lightning_contrast.functional.distance import squared_distance


class NegativeSquaredDistance(Similarity):
    """``-||a - b||^2``, in ``(-inf, 0]``; of unit vectors ``2 cos - 2``, in ``[-4, 0]``.

    Computed as ``2 a.b - ||a||^2 - ||b||^2`` in float32 or wider and cut off at 0, so the error is about the rounding
    error of the squared norms: normalise, or keep norms near 1, where tiny distances matter.

    Args:
        normalize: rows to unit length first.

    Example:
        >>> import torch
        >>> NegativeSquaredDistance().tile(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor([[-25.]])
    """

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize
        self.bound = 4.0 if normalize else None

    def prepare(self, z: Embedding) -> Embedding:
        """Rows to unit length when asked; the norm is taken in float32 or wider."""
        if not self.normalize or isinstance(z, tuple):
            return z
        wide = z if z.dtype == torch.float64 else z.float()
        return F.normalize(wide, dim=-1)

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, D]`` against ``[m, D]`` or ``[n, m, D]``: ``[n, m]``."""
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):
            raise TypeError(f"{type(self).__name__} compares single tensors, the embeddings are tuples.")
        square = squared_distance(a, b) if b.dim() == 2 else squared_distance(a.unsqueeze(1), b).squeeze(1)
        return -square


class NegativeDistance(NegativeSquaredDistance):
    """``-||a - b||``, in ``(-inf, 0]``; of unit vectors in ``[-2, 0]``.

    The gradient is that of the distance, and 0 where the distance is 0 (two equal points).

    Args:
        normalize: rows to unit length first.

    Example:
        >>> import torch
        >>> NegativeDistance().tile(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor([[-5.]])
    """

    def __init__(self, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.bound = 2.0 if normalize else None

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, D]`` against ``[m, D]`` or ``[n, m, D]``: ``[n, m]``."""
        square = -super().tile(a, b)
        apart = square > 0
        # The root has an infinite slope at 0: keep it out of the graph there.
        return -torch.where(apart, torch.where(apart, square, 1.0).sqrt(), 0.0)
