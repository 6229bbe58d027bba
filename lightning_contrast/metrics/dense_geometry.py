"""Alignment and uniformity of feature maps as Metrics."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.dense_geometry import dense_alignment, dense_uniformity, match_cells
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class DenseAlignment(EmbeddingMetric):
    """Squared distance of each place of a feature map and its partner in the other view (2022).

    Args:
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 4]; with one place a map the alignment of Wang and Isola.

    Example:
        >>> import torch
        >>> metric, maps = DenseAlignment(), torch.eye(4).view(1, 4, 2, 2)
        >>> metric.update(maps, maps.flip(3))
        >>> metric.compute()
        tensor(0.)

    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 4.0

    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", zeros(), dist_reduce_fx="sum")
        self.add_state("count", zeros(), dist_reduce_fx="sum")

    def update(self, features: Tensor, other: Tensor, match: Tensor | None = None) -> None:
        """Add images: maps [N, C, H, W] of two views, and partners [N, H * W]; None matches by these maps' cosine."""
        match = match_cells(features, other) if match is None else match
        self.total = self.total + dense_alignment(features.detach(), other.detach(), match).double().sum()
        self.count = self.count + len(features)

    def compute(self) -> Tensor:
        """Return the mean over all images."""
        return (self.total / self.count).float()


class DenseUniformity(EmbeddingMetric):
    """Logarithm of the mean Gaussian potential of pairs of places (2022), exact over ranks.

    Keeps the maps. Bound what you give it: the time grows with the square of the places (of one image with ``within``).

    Args:
        t: sharpness, above 0.
        within: only pairs of one image.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [-4 t, 0]; 0 when all places are equal.

    Example:
        >>> import torch
        >>> metric = DenseUniformity(within=True)
        >>> metric.update(torch.ones(3, 4, 2, 2))
        >>> metric.compute()
        tensor(0.)

    """

    higher_is_better = False
    plot_upper_bound = 0.0
    row_states = ("maps",)

    def __init__(self, t: float = 2.0, within: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not t > 0:
            raise ValueError(f"t must be above 0; got {t}.")
        self.t, self.within = t, within

    def update(self, features: Tensor) -> None:
        """Add maps [N, C, H, W]."""
        self.keep_rows(maps=features)

    def compute(self) -> Tensor:
        """Return the uniformity of all maps."""
        return dense_uniformity(self.rows("maps"), self.t, self.within)
