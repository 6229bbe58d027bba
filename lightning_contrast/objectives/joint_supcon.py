"""Supervised and unsupervised contrast of the same views, weighed against each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair, Scores, Similarity
from lightning_contrast.contrast.target import Paired
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.same_label import SameLabel
from lightning_contrast.targets.same_superclass import SameSuperclass
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule


class JointSupCon(Objective):
    """``weight * SupCon + (1 - weight) * InfoNCE`` on the same views: labels without class collapse.

    Xue et al., "Which Features are Learnt by Contrastive Learning? On the Role of Simplicity Bias in Class Collapse and
    Feature Suppression" (ICML 2023). SupCon alone may throw away what distinguishes the subclasses of a class, InfoNCE
    alone what is harder to see than something irrelevant. ``weight=1`` is SupCon, ``weight=0`` NT-Xent. Of an unlabelled
    row (label < 0) the own partner is the only positive. What is left of subclasses shows
    :class:`~lightning_contrast.metrics.SubclassShare`.

    Sure: high for the loss; the weight is a swept one.

    Args:
        temperature: a number > 0 or a temperature module.
        weight: of SupCon, in [0, 1].
        superclass: the class of each label, where labels are finer than what SupCon shall see; ``None`` takes labels.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for a weight out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> round(JointSupCon(1.0, weight=0.0)(Contrast.from_views(z, label=torch.tensor([0, 0]))).item(), 5)
        0.55144
    """

    requires = ("label",)

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.1,
        weight: float = 0.5,
        superclass: Sequence[int] | None = None,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if not 0 <= weight <= 1:
            raise ValueError(f"weight={weight}: must lie in [0, 1]; 1 is SupCon, 0 is InfoNCE.")
        self.weight = weight
        self.same: Target = SameLabel() if superclass is None else SameSuperclass(superclass)

    def prepare(self, contrast: Contrast) -> Contrast:
        """Partners and rows of the same class are positives, unless the caller gave another target."""
        if contrast.target is None:
            contrast.anchors.get("label")
            contrast = contrast.retarget(self._partner_or_same)
        return super().prepare(contrast)

    def _partner_or_same(self, pair: Pair) -> Tensor:
        return torch.maximum(self.same(pair), Paired()(pair))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        supervised = scores.target_sum() / scores.target_mass()
        own = scores.read(Paired()) * (scores.target > 0)
        partners = own.sum(1)
        unsupervised = (own * scores.logit).sum(1) / partners.clamp(min=1)
        wanted = supervised.lerp(torch.where(partners > 0, unsupervised, supervised), 1 - self.weight)
        return scores.logsumexp() - wanted
