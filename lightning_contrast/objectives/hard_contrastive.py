"""InfoNCE among the hardest negatives only."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.contrast.scores import Row
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


class HardContrastive(Objective):
    r""":math:`\log(e^{l_+} + \sum_{j: l_j \ge q} e^{l_j}) - l_+`, ``q`` the quantile above which a share of negatives lies.

    Of an anchor's ``n`` negatives the ``ceil(share n)`` most similar count (equals of the last one stay), however high
    the temperature; InfoNCE gets there by a low temperature alone (Wang and Liu, "Understanding the Behaviour of
    Contrastive Loss", CVPR 2021, section 3.3). ``share=1`` is InfoNCE. The choice has no gradient. Which negatives receive
    the gradient shows :class:`~lightning_contrast.metrics.ScoreHistogram`.

    Sure: high for the loss, medium for the share (a small one in the paper; 0.08 is from memory).

    Args:
        temperature: a number > 0 or a temperature module.
        share: of the negatives that count, in (0, 1].
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for a share out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast, Dot
        >>> c = Contrast.from_pairs(torch.ones(1, 1), torch.tensor([[0.8]]), negatives=torch.tensor([[0.5], [-0.2]]))
        >>> round(HardContrastive(0.5, share=0.5, similarity=Dot())(c).item(), 4)
        0.4375
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.3,
        share: float = 0.08,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if not 0 < share <= 1:
            raise ValueError(f"share={share}: must lie in (0, 1]; 1 keeps all negatives, which is InfoNCE.")
        self.share = share

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return scores.map_rows(self._among_the_hardest) - scores.target_sum() / scores.target_mass()

    def _among_the_hardest(self, row: Row) -> Tensor:
        """Logsumexp over positives and the hardest negatives."""
        rank = (self.share * row.negative.sum(1).double() - 1e-9).ceil().long().clamp(min=1) - 1
        falling = row.logit.detach().masked_fill(~row.negative, -torch.inf).sort(dim=1, descending=True).values
        hard = row.negative & (row.logit >= falling.gather(1, rank[:, None]))
        x = row.logit if row.log_weight is None else row.logit + row.log_weight
        return x.masked_fill(~(hard | row.positive), -torch.inf).logsumexp(1)
