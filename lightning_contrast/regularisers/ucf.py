"""Triplets on the common and the specific part of a representation."""

from typing import ClassVar

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.functional.distance import squared_distance
from lightning_contrast.regularisers.regulariser import Regulariser


class UCF(Regulariser):
    """Four terms ``max(0, ||a - p|| - ||a - n|| + margin)``, mean over triplets, summed: common and specific, each half.

    The batch has a real and a fake half (``label`` 0 and 1), the fakes made by several methods (``method``). For the
    common part the positive is another sample of the anchor's half, for the specific part one of the anchor's method;
    the negative comes from the other half (Yan et al., "UCF: Uncovering Common Features for Generalizable Deepfake
    Detection", ICCV 2023, eq. 5). The public code draws one triplet an anchor; here the mean is over all, its
    expectation. Embeddings are the common part, payload ``specific`` the other; both as they are. Identical features
    give ``4 margin``; a term without triplets is 0.

    Sure: high for the term, low for the weights.

    Args:
        weight: about 0.05 beside the classification losses.
        margin: > 0; 1, or 3 in one configuration.
        key: payload that says real (0) or fake (1).

    Raises:
        ValueError: for a margin <= 0, or labels other than 0 and 1.
        KeyError: if ``label``, ``method`` or ``specific`` is missing.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> same = torch.ones(4, 3)
        >>> known = {"method": torch.tensor([0, 0, 1, 1]), "specific": same}
        >>> UCF(weight=1.0)(Contrast.from_views(same[None], label=torch.tensor([0, 0, 1, 1]), **known)).item()
        4.0
    """

    requires: ClassVar[tuple[str, ...]] = ("label", "method", "specific")

    def __init__(self, weight: float = 0.05, margin: float = 1.0, key: str = "label") -> None:
        super().__init__(weight)
        if not 0 < margin < float("inf"):
            raise ValueError(f"margin={margin}: must be a finite number > 0.")
        self.margin, self.key = margin, key
        self.requires = (key, "method", "specific")  # type: ignore[misc]

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, ``>= 0``."""
        anchors = contrast.anchors
        parts = [anchors.first, anchors.get(self.key), anchors.get("method"), anchors.get("specific")]
        if contrast.exchange != "none":
            parts = [gather_rows(t) for t in parts]
        common, label, method, specific = parts
        if bool(((label != 0) & (label != 1)).any()):
            raise ValueError(f"UCF: {self.key} must be 0 (real) or 1 (fake), got {sorted(set(label.tolist()))}.")
        half, kin = label[:, None] == label, method[:, None] == method
        total = [
            self._triplets(z, positive, ~half, label == side)
            for z, positive in ((common, half), (specific, half & kin))
            for side in (0, 1)
        ]
        return torch.stack(total).sum()

    def _triplets(self, z: Tensor, positive: Tensor, negative: Tensor, anchor: Tensor) -> Tensor:
        """Mean hinge over all triplets of these anchors; anchor by anchor, so that memory stays quadratic."""
        distance = squared_distance(z, z).clamp(min=1e-12).sqrt()
        positive = positive & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
        total, count = z.sum() * 0.0, 0
        for i in anchor.nonzero()[:, 0].tolist():
            p, n = distance[i][positive[i]], distance[i][negative[i]]
            total = total + (p[:, None] - n + self.margin).clamp(min=0).sum()
            count += len(p) * len(n)
        return total / max(1, count)
