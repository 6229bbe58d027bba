"""The dot product of vectors of bounded length."""

import math

from torch import Tensor

from lightning_contrast.contrast import Similarity
from lightning_contrast.contrast.similarity import Embedding


class BallDot(Similarity):
    """Inner product of embeddings pulled back into a ball: shorter ones stay as they are, longer ones are cut to it.

    Args:
        radius: of the ball, > 0; the similarity lies in ``[-radius^2, radius^2]``.

    Raises:
        ValueError: for another radius.

    Example:
        >>> import torch
        >>> s = BallDot(radius=2.0)
        >>> s.tile(s.prepare(torch.tensor([[3.0, 0.0]])), s.prepare(torch.tensor([[1.0, 0.0]]))).item()
        2.0
    """

    def __init__(self, radius: float = 1.0) -> None:
        super().__init__()
        if not 0 < radius < math.inf:
            raise ValueError(f"radius={radius}: must be a finite number > 0.")
        self.radius = float(radius)
        self.bound = self.radius**2

    def prepare(self, z: Embedding) -> Embedding:
        """Longer rows are cut to the radius."""
        if isinstance(z, tuple):
            return (self._cut(z[0]), *z[1:])
        return self._cut(z)

    def _cut(self, z: Tensor) -> Tensor:
        wide = z.float() if z.element_size() < 4 else z
        return wide * (self.radius / wide.norm(dim=-1, keepdim=True).clamp(min=self.radius))
