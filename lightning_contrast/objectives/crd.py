"""Contrastive representation distillation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast, Scores, Similarity
from lightning_contrast.contrast.exchange import all_sum
from lightning_contrast.heads import HeadLike
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


class CRD(Objective):
    """``-log h_i+ - sum_neg log(1 - h_ij)`` with ``h = e^l / (e^l + Z M / N)``, ``M`` negatives an anchor.

    Noise-contrastive estimation of which student ``s_i`` and teacher ``t_j`` saw the same sample (Tian, Krishnan and Isola,
    "Contrastive Representation Distillation", ICLR 2020, eq. 10 and 18), on ``Contrast.from_pairs(student, teacher)``; a
    ``MemoryBank`` brings the teacher's vectors of other samples. ``N`` is the number of training samples. The authors'
    code has ``Z = N mean(e^l)`` over the first batch, kept for the whole run, whereby ``N`` cancels and every pair begins
    at about ``h = 1 / (1 + M)``; that is ``samples=None``. Until a training step has fixed ``Z`` (a validation before
    training) the mean is taken as 1.

    With the candidates' number constant it is SigLIP with the fixed bias ``-log(Z M / N)``. One direction: the paper adds
    the same with a bank of the student's vectors (``symmetric=True`` for those of the batch).

    Sure: medium (the paper's and the authors' code from memory).

    Args:
        temperature: a number > 0 or a temperature module.
        samples: ``N`` with ``Z = 1``, the formula as written; ``None``: ``Z`` from the first batch.
        projector: of the teacher's vectors to the student's width, trained; ``None``: as they are.
        similarity: ``None`` is cosine; :class:`~lightning_contrast.similarities.LipschitzBilinear` for wcord.
        symmetric: also with the roles of student and teacher exchanged; appended candidates are then left out there.

    Raises:
        ValueError: for a number out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> equal = Contrast.from_pairs(torch.zeros(2, 3), torch.zeros(2, 3))
        >>> round(CRD(samples=1)(equal).item(), 5)                    # one negative, M / N = 1: h = 1/2, 2 log 2
        1.38629
    """

    offset: Tensor

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.07,
        samples: int | None = None,
        projector: HeadLike | None = None,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if samples is not None and samples < 1:
            raise ValueError(f"samples={samples}: the number of training samples, at least 1, or None.")
        self.samples, self.projector = samples, projector
        start = math.nan if samples is None else -math.log(samples)
        self.register_buffer("offset", torch.tensor(start))
        self._fixed = samples is not None

    def prepare(self, contrast: Contrast) -> Contrast:
        """The teacher's vectors through the projector."""
        if self.projector is not None:
            first = contrast.candidates[0]
            own = first.replace(z=self.projector(first.first))
            contrast = contrast.replace(candidates=(own, *contrast.candidates[1:]))
        return super().prepare(contrast)

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """The first training batch fixes ``Z``."""
        out = super().directions(contrast)
        if not self._fixed and self.training and torch.is_grad_enabled():
            if bool(self.offset.isnan()):
                self._fix(out)
            self._fixed = True
        return out

    @torch.no_grad()
    def _fix(self, contrasts: Sequence[Contrast]) -> None:
        totals = []
        for contrast in contrasts:
            scores = contrast.scores()
            total = torch.stack([scores.logsumexp().double().exp().sum(), scores.count().double().sum()])
            totals.append(total if contrast.exchange == "none" else all_sum(total))
        total = torch.stack(totals).sum(0)
        self.offset.copy_((total[0] / total[1].clamp(min=1)).log())

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        bias = scores.count("negatives").clamp(min=1).to(self.offset.dtype).log() + self.offset.nan_to_num(nan=0.0)
        yes = scores.sum(lambda x, b: F.softplus(b.to(x.dtype) - x), bias, over="positives")
        return yes + scores.sum(lambda x, b: F.softplus(x - b.to(x.dtype)), bias, over="negatives")
