"""Several positives, each against the negatives alone."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class DecoupledSoftmax(Objective):
    """``sum_{p in P} log(1 + sum_{n not in P} exp(l_n - l_p))``: a query's positives do not compete with each other.

    (Gupta et al., "Dual-Encoders for Extreme Multi-Label Classification", ICLR 2024.) With one positive it is InfoNCE;
    another positive's score never enters a positive's term, unlike SupCon. The mean over positives is the retrieval part
    of CoDiEmb (2025).

    Sure: high.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.
        target: who is positive; ``None`` is the partner, ``SameLabel("query_id")`` whatever answers the same query.
        positives: ``sum`` or ``mean`` over an anchor's positives.

    Raises:
        ValueError: for other ``positives``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(DecoupledSoftmax(temperature=1.0)(Contrast.from_pairs(eye, eye)).item(), 5)
        0.31326
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        symmetric: bool = False,
        target: Target | None = None,
        positives: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if positives not in ("sum", "mean"):
            raise ValueError(f"positives={positives!r}: use 'sum' or 'mean'.")
        self.target, self.positives = target, positives

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        total = scores.sum(lambda x, n: F.softplus(n - x), scores.logsumexp("negatives"), over="positives")
        return total / scores.count("positives") if self.positives == "mean" else total
