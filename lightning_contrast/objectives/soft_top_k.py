"""All positives among the first k."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Row, Scores, Similarity
from lightning_contrast.functional.soft_top_k import soft_top_k
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class SoftTopK(Objective):
    """``- sum_{p in P} log sigma(l_p + t)`` with ``t`` such that the probabilities of a row sum to ``k``.

    For precision and recall at ``k`` (Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification", ICLR 2024,
    section 4). Adding a constant to all scores of a row changes nothing.

    Sure: medium.

    Args:
        k: >= 1, below the number of candidates.
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.
        target: who is positive; ``None`` is the partner.

    Raises:
        ValueError: for ``k < 1``; in use for one that is not below the number of candidates.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(SoftTopK(k=1, temperature=1.0)(Contrast.from_pairs(eye, eye)).item(), 5)   # -log sigma(1 / 2)
        0.47408
    """

    def __init__(
        self,
        k: int = 5,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        symmetric: bool = False,
        target: Target | None = None,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if k < 1:
            raise ValueError(f"k={k}: must be at least 1.")
        self.k, self.target = k, target

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        return scores.map_rows(self._row)

    def _row(self, row: Row) -> Tensor:
        t = soft_top_k(row.logit.masked_fill(~row.exists, -torch.inf), self.k)
        return -F.logsigmoid(row.logit + t[:, None]).masked_fill(~row.positive, 0.0).sum(1)
