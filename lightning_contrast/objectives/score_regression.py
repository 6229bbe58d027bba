"""Scores of pairs are to be given numbers."""

from typing import Literal

from torch import Tensor

from lightning_contrast.contrast import Contrast, Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.paired import positives_only
from lightning_contrast.targets.teacher_scores import PairScore, TeacherScore
from lightning_contrast.temperatures import TemperatureModule


class ScoreRegression(Objective):
    """``mean (s_ij - t_ij)^2``: of each anchor's own pair, or of all pairs of the batch.

    The loss of sentence pairs with graded similarities (Reimers and Gurevych, "Sentence-BERT", 2019, section 3), of SetFit
    (``t`` is 1 for equal labels, else 0), and of DSE (Barkan et al., "Scalable Attentive Sentence-Pair Modeling via Distilled
    Sentence Embedding", AAAI 2020), where ``t`` are a teacher's and ``s`` is an
    :class:`~lightning_contrast.similarities.Interaction`.

    Args:
        temperature: scores are divided by it; a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        teacher: ``None`` is :class:`~lightning_contrast.targets.PairScore`, the column ``score`` of the data.
        over: ``own`` pairs, or ``all`` that the teacher has a score of.

    Raises:
        ValueError: for another ``over``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> ScoreRegression()(Contrast.from_pairs(eye, eye, score=torch.tensor([1.0, 0.5]))).item()
        0.125
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 1.0,
        similarity: Similarity | None = None,
        teacher: TeacherScore | None = None,
        over: Literal["own", "all"] = "own",
    ) -> None:
        super().__init__(temperature, similarity)
        if over not in ("own", "all"):
            raise ValueError(f"over={over!r}: use 'own' or 'all'.")
        self.teacher, self.over = teacher if teacher is not None else PairScore(), over
        self.requires = (self.teacher.key,) if isinstance(self.teacher, PairScore) else ()  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """Own pairs alone need no matrix."""
        return super().prepare(positives_only(contrast) if self.over == "own" else contrast)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        wanted = scores.read(self.teacher).to(scores.logit.dtype)
        known = scores.exists & wanted.isfinite()
        square = (scores.logit - wanted.masked_fill(~known, 0.0)).square() * known
        return square.sum(1) / known.sum(1).clamp(min=1)
