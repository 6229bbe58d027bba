"""A teacher says how much each candidate counts."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Pair
from lightning_contrast.targets.target import Target


class TeacherSimilarity(Target):
    """``exp((cos(t_i, t_j) - 1) / tau)`` of the teacher's vectors: in (0, 1], 1 for what the teacher cannot tell apart.

    Objectives divide by the mass of a row, so that its target is the teacher's softmax over the candidates.

    Args:
        temperature: of the teacher, > 0; at one near 0 only the nearest count.
        key: payload with the teacher's vectors, ``[N, D]``, such as ``TeacherEmbedding`` attaches.

    Raises:
        ValueError: for a temperature <= 0.
    """

    swappable = True

    def __init__(self, temperature: float = 0.05, key: str = "teacher") -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"teacher temperature={temperature}: must be a finite number > 0 (0.01 to 0.1 are usual).")
        self.temperature, self.key = temperature, key

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``."""
        length = [getattr(side, self.key).norm(dim=-1).clamp(min=1e-12) for side in (pair.anchor, pair.candidate)]
        return torch.exp((pair.dot(self.key) / (length[0] * length[1]) - 1) / self.temperature)
