"""Mean-shifted contrast for anomaly detection."""

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.similarities.mean_shifted import MeanShifted
from lightning_contrast.temperatures import TemperatureModule


class MSC(InfoNCE):
    """NT-Xent of embeddings seen from the centre ``c`` of the normal data, and ``-phi . c`` that keeps them there.

    ``theta = (phi - c) / ||phi - c||`` with the unit embedding ``phi`` and the fixed centre of the training set's
    features before training; ``L = NT-Xent(theta) + angular mean(-phi . c)``, where the angular variant brings ``c`` to
    unit length (Reiss and Hoshen, "Mean-Shifted Contrastive Loss for Anomaly Detection", AAAI 2023). The public code adds
    ``||phi - c||^2 = 2 - 2 phi . c`` instead, the same up to scale and constant. ``c = 0`` is NT-Xent. Set the centre
    with ``objective.similarity.set_centre(features)`` before the first step, or by the callback ``CentreOfFeatures``; it is part
    of the checkpoint.

    Sure: high.

    Args:
        dim: width of the embeddings; ``None``: that of the features that give the centre.
        temperature: a number > 0 or a temperature module.
        angular: weight of the angular term, >= 0; 0 leaves it out and the centre unnormalised.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for a value out of its range, or a centre that was not set.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> msc = MSC(dim=2, temperature=1.0, angular=1.0)
        >>> msc.similarity.set_centre(torch.tensor([[1.0, 0.0]]))
        >>> y = torch.tensor([[0.0, 1.0], [0.0, -1.0]])    # theta: (-1, 1) and (-1, -1), a right angle; phi . c = 0
        >>> round(msc(Contrast.from_pairs(y, y)).item(), 5)
        0.31326
    """

    form = None

    def __init__(
        self,
        dim: int | None = None,
        temperature: float | TemperatureModule = 0.25,
        angular: float = 0.0,
        symmetric: bool = False,
    ) -> None:
        if not 0 <= angular < float("inf"):
            raise ValueError(f"angular={angular}: the weight must be >= 0.")
        super().__init__(temperature, MeanShifted(dim, unit_centre=angular > 0), symmetric)
        self.angular = angular

    def prepare(self, contrast: Contrast) -> Contrast:
        """``-phi . c`` travels with every row, since the similarity hands on ``theta`` only."""
        contrast = super().prepare(contrast)
        shifted = contrast.similarity
        if self.angular and isinstance(shifted, MeanShifted):
            centre = shifted.centre
            contrast = contrast.map_own(
                lambda block: block.attach(angle=-F.normalize(block.first, dim=-1) @ centre.to(block.first.dtype))
            )
        return contrast

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        loss = super().rows(scores)
        if self.angular and "angle" in scores.contrast.anchors.payload:
            loss = loss + self.angular * scores.anchor.angle
        return loss
