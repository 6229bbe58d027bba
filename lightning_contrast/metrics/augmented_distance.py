"""Concentration of augmented data, and the alignment and class centres of an encoder, as Metrics."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.augmented_distance import (
    augmented_distance,
    check_deltas,
    class_divergence_from_sums,
    concentration,
    misaligned,
)
from lightning_contrast.functional.geometry import tolerance_sums
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class Concentration(EmbeddingMetric):
    """Which share of each class augmentation brings within a distance of each other (Huang et al., ICLR 2023).

    A property of data, augmentation and labels: no encoder is needed. Views come as pictures or as fixed features. Keeps
    the views; only samples of one class are compared. Bound what you give it.

    Args:
        deltas: distances, at least 0, rising.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: sigma at each delta, [len(deltas)] in (0, 1]: that of the least concentrated class.

    Example:
        >>> metric = Concentration(deltas=[0.5, 2.0])
        >>> metric.update(torch.tensor([[[0.0]], [[1.0]], [[5.0]]]), torch.tensor([0, 0, 1]))
        >>> metric.compute()
        tensor([0.5000, 1.0000])

    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    row_states = ("views", "labels")

    def __init__(self, deltas: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_deltas(deltas)
        self.deltas = tuple(deltas)

    def update(self, views: Tensor, labels: Tensor) -> None:
        """Add samples: ``views`` [N, M, ...], M views of each, ``labels`` integers [N]."""
        self.keep_rows(views=views, labels=labels)

    def compute(self) -> Tensor:
        """Return sigma over all samples."""
        views, labels = self.rows("views"), self.rows("labels")
        found = [concentration(augmented_distance(views[labels == c]), self.deltas) for c in labels.unique().tolist()]
        return torch.stack(found).amin(0).float()


class Misalignment(EmbeddingMetric):
    """Share of samples two of whose views lie further apart than eps: R_eps (Huang et al., ICLR 2023).

    Args:
        eps: distance on the unit sphere, in [0, 2].
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1].

    Example:
        >>> metric = Misalignment(eps=0.5)
        >>> metric.update(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [2.0, 0.0]]]))
        >>> metric.compute()
        tensor(0.5000)

    """

    higher_is_better = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    far: Tensor
    count: Tensor

    def __init__(self, eps: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= eps <= 2:
            raise ValueError(f"eps must lie in [0, 2], distances on the unit sphere; got {eps}.")
        self.eps = eps
        self.add_state("far", zeros(), dist_reduce_fx="sum")
        self.add_state("count", zeros(), dist_reduce_fx="sum")

    def update(self, views: Tensor) -> None:
        """Add samples: ``views`` [N, M, D]."""
        self.far = self.far + misaligned(views.detach(), self.eps).sum()
        self.count = self.count + len(views)

    def compute(self) -> Tensor:
        """Return the share over all samples."""
        return (self.far / self.count).float()


class ClassDivergence(EmbeddingMetric):
    """Largest inner product of the centres of two classes on the sphere (Huang et al., ICLR 2023), from class sums.

    Args:
        dim: width D of the embeddings.
        classes: number of classes, at least 2.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [-1, 1]; small is good.

    Example:
        >>> metric = ClassDivergence(dim=2, classes=2)
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(0.)

    """

    higher_is_better = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    total: Tensor
    count: Tensor

    def __init__(self, dim: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if classes < 2:
            raise ValueError(f"classes must be at least 2; got {classes}.")
        self.classes = classes
        self.add_state("total", zeros(classes, dim), dist_reduce_fx="sum")
        self.add_state("count", zeros(classes), dist_reduce_fx="sum")

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add rows ``z`` [N, D] with ``labels`` integers [N]."""
        total, count = tolerance_sums(z.detach(), labels, self.classes)
        self.total = self.total + total
        self.count = self.count + count

    def compute(self) -> Tensor:
        """Return the figure over all rows."""
        return class_divergence_from_sums(self.total, self.count).float()
