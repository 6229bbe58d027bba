"""Generalised supervised contrast: what is easy already counts more."""

from torch import Tensor

from lightning_contrast.contrast import Row, Scores, Similarity
from lightning_contrast.objectives.supcon import SupCon
from lightning_contrast.temperatures import TemperatureModule


class GeneralizedSupCon(SupCon):
    """``-1/|P_i| sum_{p in P_i} q sg[p_ip]^q log p_ip``, ``p_ip`` the softmax over all others (Hwang et al. 2022, eq. 2).

    Positives that are near already keep their gradient, far ones lose it, so that features which are easy to learn, such as a
    bias, are learnt all the more. ``q -> 0`` is ``q`` times SupCon.

    Args:
        q: how much more, in (0, 1]; 0.7 is the paper's.
        temperature: a number > 0 or a temperature module; 0.2 is the paper's.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: for q out of range.
        KeyError: if the contrast has no ``label``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> z, y = torch.eye(4)[None], torch.tensor([0, 0, 1, 1])
        >>> round(GeneralizedSupCon(q=1.0, temperature=1.0)(Contrast.from_views(z, label=y)).item(), 5)   # log 3 / 3
        0.3662
    """

    def __init__(
        self,
        q: float = 0.7,
        temperature: float | TemperatureModule = 0.2,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if not 0 < q <= 1:
            raise ValueError(f"q={q}: must lie in (0, 1]; 0.7 is usual.")
        self.q = q
        self.form = None

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return scores.map_rows(self._amplified, scores.logsumexp())

    def _amplified(self, row: Row, total: Tensor) -> Tensor:
        log_p = (row.logit - total).masked_fill(~row.positive, 0.0)
        weight = self.q * (self.q * log_p.detach()).exp()
        return -(row.target * weight * log_p).sum(1) / row.target.sum(1)
