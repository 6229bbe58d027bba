"""InfoNCE, NT-Xent and CLIP's loss: one formula, told apart by who the anchors are."""

from typing import Literal

from torch import Tensor

from lightning_contrast.contrast import Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class InfoNCE(Objective):
    """Pick the positive among all candidates: ``logsumexp_j l_ij - l_i+``.

    On :meth:`Contrast.from_pairs` this is one-way InfoNCE (van den Oord et al. 2018, eq. 4); with ``symmetric=True``
    CLIP's loss (Radford et al. 2021, fig. 3), the mean of both directions. On :meth:`Contrast.from_views` with two
    views it is NT-Xent over ``2N`` rows (Chen et al. 2020, eq. 1). With more views every anchor has ``V - 1``
    positives; the loss is the mean over them, each against all candidates (SupCon's ``L_out`` with every sample its own
    class). With soft targets it is their cross-entropy (mass 1).

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction; without effect on views, where all rows are anchors already.
        label_smoothing: ``eps`` in [0, 1): the target is ``1 - eps + eps / M`` for the positive and ``eps / M`` for each
            other of the ``M`` candidates (Szegedy et al. 2016, section 7).
        target: who is positive, and how much; ``None`` is the partner. ``Neighbours`` is Quick-Thoughts.

    Raises:
        ValueError: for a smoothing out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(InfoNCE(temperature=1.0)(Contrast.from_pairs(eye, eye)).item(), 5)
        0.31326
        >>> round(InfoNCE(temperature=1.0)(Contrast.from_views(torch.stack([eye, eye]))).item(), 5)
        0.55144
    """

    form: Literal["softmax"] | None = "softmax"

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.1,
        similarity: Similarity | None = None,
        symmetric: bool = False,
        label_smoothing: float = 0.0,
        target: Target | None = None,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: must lie in [0, 1); 0.1 is usual.")
        self.label_smoothing = label_smoothing
        if target is not None:
            self.target, self.one_view = target, bool(target.reads)
            self.requires = target.reads  # type: ignore[misc]
        if label_smoothing:
            self.form = None

    def rows(self, scores: Scores) -> Tensor:
        """``logsumexp - (1 - eps) target_sum / target_mass - eps mean(logit)``, ``[n]``."""
        wanted = scores.target_sum() / scores.target_mass()
        if self.label_smoothing:
            wanted = wanted.lerp(scores.sum(lambda s: s) / scores.count(), self.label_smoothing)
        return scores.logsumexp() - wanted
