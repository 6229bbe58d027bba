"""Lists of graded relevance, matched over the batch."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.functional.gaussian_wasserstein import gaussian_wasserstein
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.similarities import Dot
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class SyCL(Objective):
    """``W2^2(softmax_j(l_ij), softmax_j(level_ij))``, rows read as samples of two Gaussians over the candidates.

    ("Beyond Contrastive Learning: Synthetic Data Enables List-wise Training with Multiple Levels of Relevance", EMNLP
    Findings 2025.) Means and covariances over the batch are matched, not query by query: queries may be permuted on one
    side. The target is the level of relevance, 0 for what is none.

    Sure: high.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is the inner product.
        target: levels, such as ``Levels``; ``None`` is 1 for the partner.

    Example:
        >>> from lightning_contrast import Contrast
        >>> z = torch.eye(2)
        >>> abs(round(SyCL(temperature=1.0)(Contrast.from_pairs(z, z)).item(), 6))
        0.0
    """

    reduction = "batch"
    needs = frozenset()

    def __init__(
        self,
        temperature: float | TemperatureModule = 1.0,
        similarity: Similarity | None = None,
        target: Target | None = None,
    ) -> None:
        super().__init__(temperature, Dot() if similarity is None else similarity)
        self.target = target

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        there = scores.exists.any(1)
        lists = [x.masked_fill(~scores.exists, -torch.inf)[there] for x in (scores.logit, scores.target)]
        if not len(lists[0]):
            return scores.logit.sum() * 0
        return gaussian_wasserstein(*(x.softmax(1) for x in lists))
