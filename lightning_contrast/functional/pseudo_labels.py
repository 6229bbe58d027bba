"""Labels that two sources agree on."""

import torch
from torch import Tensor

from lightning_contrast.functional.kmeans import nearest_centroid


@torch.no_grad()
def agreeing_labels(probability: Tensor, z: Tensor, prototype: Tensor, confidence: float = 0.0) -> Tensor:
    """The class that both the classifier and the nearest prototype choose; -1 where they differ or the classifier is unsure
    (Wang et al. 2023, Space Engage: collaboration of the logit and the representation space).

    Args:
        probability: ``[N, C]``, of the classifier.
        z: ``[N, D]``, unit length.
        prototype: ``[C, D]``, unit length, of the same classes.
        confidence: the least probability, in [0, 1).

    Returns:
        int64 ``[N]``.

    Raises:
        ValueError: for shapes that do not fit, or a confidence out of range.

    Example:
        >>> p, z = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55]]), torch.eye(2)[[0, 1, 1]]
        >>> agreeing_labels(p, z, torch.eye(2), confidence=0.6).tolist()
        [0, -1, -1]
    """
    if probability.shape != (len(z), len(prototype)):
        raise ValueError(
            f"agreeing_labels: probability {list(probability.shape)} for {len(z)} rows and {len(prototype)} prototypes."
        )
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence={confidence}: must lie in [0, 1).")
    value, label = probability.max(1)
    agree = (nearest_centroid(z, prototype)[1] == label) & (value >= confidence)
    return torch.where(agree, label, -1)
