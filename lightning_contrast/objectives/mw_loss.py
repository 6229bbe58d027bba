"""Every positive above every negative of the batch."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.functional.pairwise_logistic import pairwise_logistic
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


class MWLoss(Objective):
    """``mean_{p, n} log(1 + exp(l_n - l_p))`` over all positive and all negative pairs, across queries too.

    ("Optimizing What Matters: AUC-Driven Learning for Robust Neural Retrieval", 2025.) Over log 2 it is never below 1 - AUC
    of the pooled scores, which InfoNCE leaves free: there a constant added to one query's scores changes nothing, here it
    does. Positives count by their target, negatives by their log-weights.

    Sure: medium for the pairing, low for the temperature.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(MWLoss(temperature=1.0)(Contrast.from_pairs(eye, eye)).item(), 5)          # log(1 + exp(-1))
        0.31326
    """

    reduction = "batch"
    needs = frozenset()

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        logit, target = scores.logit, scores.target
        negative = scores.exists & (target <= 0)
        weight = None if scores.log_weight is None else scores.log_weight[negative].exp()
        positive = target > 0
        # an empty batch still has a graph: other ranks wait for it in backward
        return pairwise_logistic(logit[positive], logit[negative], target[positive], weight) + 0 * torch.sum(logit[:0])
