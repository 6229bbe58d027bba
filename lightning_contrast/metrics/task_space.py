"""Distances between the predictions of several models, as a Metric."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.task_space import Picture, bhattacharyya_sums, inpca
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class TaskDistance(EmbeddingMetric):
    """Mean Bhattacharyya distance of every two models' predictions, from sums (Ramesh et al., ICML 2023).

    Models may be checkpoints of one training or of many; representations predict through
    :func:`lightning_contrast.functional.task_space.imprinted_predictions`.

    Args:
        models: number M of models, at least 2.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: [M, M], symmetric, at least 0; 0 for equal predictions. Coordinates are in :meth:`picture`.

    Example:
        >>> import torch
        >>> metric = TaskDistance(models=2)
        >>> metric.update(torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]))
        >>> round(float(metric.compute()[0, 1]), 4)
        0.1116

    """

    plot_lower_bound = 0.0

    total: Tensor
    count: Tensor

    def __init__(self, models: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if models < 2:
            raise ValueError(f"models must be at least 2; got {models}.")
        self.models = models
        self.add_state("total", zeros(models, models), dist_reduce_fx="sum")
        self.add_state("count", zeros(), dist_reduce_fx="sum")

    def update(self, tables: Tensor) -> None:
        """Add samples: predictions ``tables`` [M, N, C] of all models for the same N samples.

        Raises:
            ValueError: for another number of models, or what is no probability.

        """
        if len(tables) != self.models:
            raise ValueError(f"tables must have models={self.models} entries; got {len(tables)}.")
        self.total = self.total + bhattacharyya_sums(tables)
        self.count = self.count + tables.shape[1]

    def compute(self) -> Tensor:
        """Return the distances over all samples."""
        return (self.total / self.count).float()

    def picture(self) -> Picture:
        """Return the models as points (InPCA), over the samples of :meth:`compute`."""
        return inpca(self.compute())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the models as points on the first two axes of InPCA, in their order."""
        from lightning_contrast.metrics.canvas import COLOURS, new_figure, write_title

        found = inpca(self.compute() if val is None else val, 2)
        figure, axes = new_figure(5.5, 4.5) if ax is None else (ax.figure, ax)
        x, y = found.points.T.tolist()
        axes.plot(x, y, color=COLOURS[0], marker="o", linewidth=1)
        for i, point in enumerate(zip(x, y, strict=True)):
            axes.annotate(str(i), point, (4, 4), textcoords="offset points", fontsize=9)
        axes.set(xlabel="first axis", ylabel="second axis")
        write_title(axes, "Models by their predictions", f"{float(found.stress[1]):.0%} explained")
        return figure, axes
