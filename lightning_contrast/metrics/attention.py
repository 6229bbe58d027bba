"""What the heads of a vision transformer look at, as a Metric."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.attention import attention_distance, offset_attention
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class AttentionDistance(EmbeddingMetric):
    """How far each head of a layer looks, in patches, and how much it looks at one offset (Walmer et al., CVPR 2023).

    Beside it :class:`LinearCKA` compares layers, and :class:`KNNAccuracy` and :class:`EmbeddingRetrieval` tell what a
    layer's features are good for.

    Args:
        heads: of the layer, at least 1.
        grid: rows and columns of patches.
        offset: rows down and columns to the right whose attention is told; (0, 0) is the patch itself.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of ``distance`` [heads] and ``offset`` [heads], means over patches and images.

    Example:
        >>> import torch
        >>> metric = AttentionDistance(heads=2, grid=(1, 2))
        >>> metric.update(torch.full((3, 2, 2, 2), 0.5))
        >>> metric.compute()["distance"]
        tensor([0.5000, 0.5000])

    """

    plot_lower_bound = 0.0

    far: Tensor
    there: Tensor
    count: Tensor

    def __init__(self, heads: int, grid: tuple[int, int], offset: tuple[int, int] = (0, 0), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if heads < 1 or min(grid) < 1:
            raise ValueError(f"heads and grid must be at least 1; got {heads} and {grid}.")
        self.grid, self.offset = grid, offset
        self.add_state("far", zeros(heads), dist_reduce_fx="sum")
        self.add_state("there", zeros(heads), dist_reduce_fx="sum")
        self.add_state("count", zeros(), dist_reduce_fx="sum")

    def update(self, attention: Tensor) -> None:
        """Add images: ``attention`` [N, heads, T, T], rows sum to 1, the last tokens are the patches."""
        self.far = self.far + attention_distance(attention, self.grid).sum(0)
        self.there = self.there + offset_attention(attention, self.grid, self.offset).sum(0)
        self.count = self.count + len(attention)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over all images."""
        return {"distance": (self.far / self.count).float(), "offset": (self.there / self.count).float()}
