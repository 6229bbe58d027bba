"""InfoNCE in which what is found already counts less."""

from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.temperatures import TemperatureModule


class FocalInfoNCE(InfoNCE):
    """``(1 - sg[p_i])^gamma (-log p_i)``, ``p_i`` the probability of the anchor's positive.

    Zhao et al., "KaLM-Embedding-V2" (2025): hard queries count more. The weight is a constant in backward. ``gamma = 0`` is
    InfoNCE.

    Sure: medium; that the weight is detached is a choice.

    Args:
        gamma: >= 0; 0.5 in the paper.
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction; without effect on views.

    Raises:
        ValueError: for a negative gamma.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(FocalInfoNCE(1.0, temperature=1.0)(Contrast.from_pairs(eye, eye)).item(), 5)   # 0.26894 * 0.31326
        0.08425
    """

    def __init__(
        self,
        gamma: float = 0.5,
        temperature: float | TemperatureModule = 0.1,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if not 0 <= gamma < float("inf"):
            raise ValueError(f"gamma={gamma}: must be a finite number >= 0 (0.5 in the paper).")
        self.gamma = gamma
        self.form = None

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        loss = super().rows(scores)
        return (-(-loss.detach()).expm1()).clamp(min=0.0) ** self.gamma * loss
