"""InfoNCE whose positives count as much as a score says."""

from torch import Tensor

from lightning_contrast.contrast import Contrast, Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


class ScoredInfoNCE(Objective):
    """``-s_i log p_i+ - (1 - s_i) mean_neg log p_ij``: the positive has the target ``s_i``, the other candidates share the
    rest.

    CLHAIF (Cheng et al., "Improving Contrastive Learning of Sentence Embeddings from AI Feedback", ACL Findings 2023, section
    3.3), where ``s_i`` is how alike another model found anchor and positive, and the candidates are all positives and all hard
    negatives of the batch. With ``s = 1`` it is InfoNCE.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        smooth: whether the others share the rest; without, the target is 0 elsewhere, and ``s_i`` is the weight of an
            anchor's InfoNCE.
        key: payload with ``s``, in [0, 1].

    Raises:
        ValueError: in use for scores out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(ScoredInfoNCE(1.0)(Contrast.from_pairs(eye, eye, score=torch.ones(2))).item(), 5)
        0.31326
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        smooth: bool = True,
        key: str = "score",
    ) -> None:
        super().__init__(temperature, similarity)
        self.smooth, self.key = smooth, key
        self.requires = (key,)  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """Looks at the scores: beyond [0, 1] some target would be negative."""
        score = contrast.anchors.get(self.key)
        if score.numel() and not bool(((score >= 0) & (score <= 1)).all()):
            raise ValueError(
                f"ScoredInfoNCE: {self.key!r} lies between {float(score.min()):.4g} and {float(score.max()):.4g}, must lie in "
                "[0, 1]: divide the scores by the largest that can be given."
            )
        return super().prepare(contrast)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        lse = scores.logsumexp()
        weight = getattr(scores.anchor, self.key).to(lse.dtype)
        own = weight * (lse - scores.target_sum() / scores.target_mass())
        if not self.smooth:
            return own
        others = scores.count("negatives")
        mean = scores.sum(lambda logit: logit, over="negatives") / others.clamp(min=1)
        return own + (1 - weight) * (lse - mean) * (others > 0)
