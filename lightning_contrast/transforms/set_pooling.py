"""Several views as one embedding."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.transforms.transform import Transform


class SetPooling(Transform):
    """Each ``size`` consecutive views of a sample become one: ``[V, N, D] -> [V / size, N, D]``.

    Sets (several shots, crops, sentences of one thing) are then compared, not their members; the order within a set
    does not matter.

    Args:
        size: views of a set, >= 1, dividing the number of views.
        how: ``mean``, ``sum`` or ``max``, over the members.
        normalize: members are brought to unit length first, so that none outweighs the others.

    Raises:
        ValueError: for values out of range, or a number of views that ``size`` does not divide.

    Example:
        >>> import torch
        >>> SetPooling(2)(torch.randn(4, 8, 16)).shape
        torch.Size([2, 8, 16])
    """

    def __init__(self, size: int = 2, how: Literal["mean", "sum", "max"] = "mean", normalize: bool = False) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size={size}: the number of views of a set, at least 1.")
        if how not in ("mean", "sum", "max"):
            raise ValueError(f"how={how!r}: use 'mean', 'sum' or 'max'.")
        self.size, self.how, self.normalize = size, how, normalize

    def forward(self, z: Tensor) -> Tensor:
        """``[V, N, D] -> [V / size, N, D]``."""
        if z.shape[0] % self.size:
            raise ValueError(
                f"SetPooling(size={self.size}) got {z.shape[0]} views: give a multiple of {self.size} (data.n_views)."
            )
        sets = (F.normalize(z, dim=-1) if self.normalize else z).unflatten(0, (-1, self.size))
        return sets.amax(1) if self.how == "max" else sets.sum(1) if self.how == "sum" else sets.mean(1)
