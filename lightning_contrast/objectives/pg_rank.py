"""A ranking policy trained by its utility."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Row, Scores, Similarity
from lightning_contrast.functional.plackett_luce import advantages, log_ranking, sampled_rankings
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class PGRank(Objective):
    """``-mean_m sum_i A_mi log pi(r_mi | r_m1 .. r_m,i-1)``: REINFORCE on nDCG of rankings drawn from the scores.

    Gao et al., "Policy-Gradient Training of Language Models for Ranking" (Neural PG-RANK, 2023). A query's scores make a
    Plackett-Luce distribution over the orders of its candidates; `samples` orders are drawn by adding Gumbel noise. The
    advantage is the utility minus the mean of the other orders' (leave-one-out); with `to_go` each place is paid with
    what is collected from it on. The value has no meaning of its own, its gradient is that of the expected utility.
    What log-weights say is not read.

    Sure: high for the estimator, medium for the numbers.

    Args:
        temperature: scores are divided by it; a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.
        target: relevance of the candidates, graded perhaps; ``None`` is 1 for the partner.
        samples: orders of each query, >= 2.
        k: cut-off of nDCG, >= 1.
        to_go: whether a place is paid with the utility from it on alone.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> from lightning_contrast import Contrast
        >>> PGRank(samples=4)(Contrast.from_pairs(torch.eye(3), torch.eye(3))).shape
        torch.Size([])
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        symmetric: bool = False,
        target: Target | None = None,
        samples: int = 16,
        k: int = 10,
        to_go: bool = True,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if samples < 2 or k < 1:
            raise ValueError(f"samples={samples}, k={k}: need at least 2 (others are the baseline) and 1.")
        self.target, self.samples, self.k, self.to_go = target, samples, k, to_go
        self._seed = 0

    def prepare(self, contrast: Contrast) -> Contrast:
        """A seed for this step: the orders are the same in whatever tiles the scores are read, and read again."""
        self._seed = int(torch.randint(2**31, ()))
        return super().prepare(contrast)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        position = scores.anchor.position

        def loss(row: Row) -> Tensor:
            logits = row.logit.masked_fill(~row.exists, -torch.inf)
            orders = sampled_rankings(logits.detach(), self.samples, position, self._seed)
            paid = advantages(row.target.detach(), orders, self.k, self.to_go)
            return -(paid * log_ranking(logits, orders)).sum(-1).mean(0)

        return scores.map_rows(loss)
