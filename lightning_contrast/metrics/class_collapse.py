"""Class collapse as a Metric."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.class_collapse import subclass_share
from lightning_contrast.functional.ridge import RidgeStatistics, ridge_statistics
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class SubclassShare(EmbeddingMetric):
    """Share of the variance within classes that lies between their subclasses (Xue et al., ICML 2023), from sums.

    Beside it :class:`RidgeProbe` on the subclasses is their probe accuracy.

    Args:
        dim: width D of the embeddings.
        superclass: the class of each subclass.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1]; 0: the subclasses of a class have collapsed onto each other.

    Example:
        >>> metric = SubclassShare(dim=1, superclass=[0, 0, 1])
        >>> metric.update(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 1, 2]))
        >>> metric.compute()
        tensor(1.)

    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    class_rows: Tensor
    class_total: Tensor
    gram: Tensor

    def __init__(self, dim: int, superclass: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(set(superclass)) >= len(superclass):
            raise ValueError(f"superclass={list(superclass)}: at least one class must have two subclasses.")
        self.superclass = tuple(superclass)
        self.add_state("class_rows", zeros(len(superclass)), dist_reduce_fx="sum")
        self.add_state("class_total", zeros(len(superclass), dim), dist_reduce_fx="sum")
        self.add_state("gram", zeros(dim, dim), dist_reduce_fx="sum")

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add rows ``z`` [N, D] with their subclasses ``labels``, integers [N]."""
        found = ridge_statistics(z.detach(), labels, len(self.superclass))
        self.class_rows = self.class_rows + found.rows
        self.class_total = self.class_total + found.total
        self.gram = self.gram + found.gram

    def compute(self) -> Tensor:
        """Return the share over all rows."""
        sums = RidgeStatistics(self.class_rows, self.class_total, self.gram)
        return subclass_share(sums, torch.tensor(self.superclass, device=self.gram.device)).float()
