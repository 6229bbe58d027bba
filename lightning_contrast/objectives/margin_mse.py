"""Differences of scores are to be the teacher's."""

from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.similarities import Dot
from lightning_contrast.targets.teacher_scores import TeacherScore, VectorScore
from lightning_contrast.temperatures import TemperatureModule


class MarginMSE(Objective):
    """``mean_j ((s_i+ - s_ij) - (t_i+ - t_ij))^2`` over an anchor's negatives, ``t`` the teacher's scores.

    Hofstaetter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation" (2020,
    eq. 8). Only margins matter: scores of a row may all be larger than the teacher's. 0 where margins agree. Candidates that
    the teacher has no score of are left aside.

    Args:
        temperature: scores are divided by it; a number > 0 or a temperature module.
        similarity: ``None`` is the inner product.
        teacher: ``None`` is :class:`~lightning_contrast.targets.VectorScore`, of the vectors of ``TeacherEmbedding``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)                                    # margins of 1, the teacher's are 0
        >>> MarginMSE()(Contrast.from_pairs(eye, eye, teacher=torch.ones(2, 3))).item()
        1.0
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        temperature: float | TemperatureModule = 1.0,
        similarity: Similarity | None = None,
        teacher: TeacherScore | None = None,
    ) -> None:
        super().__init__(temperature, similarity or Dot())
        self.teacher = teacher if teacher is not None else VectorScore()

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        wanted = scores.read(self.teacher).to(scores.logit.dtype)
        known = scores.exists & wanted.isfinite()
        gap = scores.logit - wanted.masked_fill(~known, 0.0)
        positive, negative = (
            side.to(gap.dtype) for side in (known & (scores.target > 0), known & (scores.target <= 0))
        )
        own = (gap * positive).sum(1, keepdim=True) / positive.sum(1, keepdim=True).clamp(min=1)
        return ((own - gap).square() * negative).sum(1) / negative.sum(1).clamp(min=1)
