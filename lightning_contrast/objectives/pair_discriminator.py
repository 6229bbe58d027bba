"""Tell true pairs from shuffled ones: the odds are a ratio of densities."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.similarities import Dot
from lightning_contrast.temperatures import TemperatureModule


class PairDiscriminator(Objective):
    """``(mean_+ softplus(-l) + mean_- softplus(l)) / 2``: logistic regression of true against shuffled pairs, balanced.

    At the optimum ``exp(l(x, z)) = P(x, z) / (P(x) P(z))`` (Tosh, Krishnamurthy and Hsu, "Contrastive learning, multi-view
    redundancy, and linear models", ALT 2021, section 3). Partners of other anchors are the shuffled pairs. With the
    default similarity, inner products, ``exp`` of the score is the bilinear form of the paper; ``LandmarkHead`` turns the
    odds at a few stored views into features.

    Sure: high for the ratio.

    Args:
        temperature: a number > 0 or a temperature module.
        bias: where the trained constant of the logit starts.
        similarity: ``None`` is the inner product.
        symmetric: also the other direction, for pairs.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> loss = PairDiscriminator(temperature=1.0)                     # (log(1 + 1/e) + log 2) / 2
        >>> round(loss(Contrast.from_pairs(torch.eye(2), torch.eye(2))).item(), 5)
        0.5032
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        temperature: float | TemperatureModule = 1.0,
        bias: float = 0.0,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity or Dot(), symmetric)
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        yes = scores.sum(lambda s: F.softplus(-s - self.bias), over="positives") / scores.count("positives")
        no = scores.sum(lambda s: F.softplus(s + self.bias), over="negatives") / scores.count("negatives")
        return (yes + no) / 2
