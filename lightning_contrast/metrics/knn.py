"""Accuracy of a weighted kNN classifier over a bank of embeddings."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.knn import knn_predict
from lightning_contrast.metrics.bank_metric import BankMetric


class KNNAccuracy(BankMetric):
    """Share of queries whose class the k nearest bank rows predict (cosine, weights exp(s / temperature)).

    Fill the bank with :meth:`update_bank` and the queries with :meth:`update`; both are gathered over ranks.
    Wu et al., CVPR 2018; see :func:`lightning_contrast.functional.knn.knn_scores`.

    Args:
        k: neighbours that vote, at least 1.
        temperature: above 0.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1].

    Example:
        >>> import torch
        >>> metric = KNNAccuracy(k=1)
        >>> metric.update_bank(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> metric.update(torch.tensor([[0.9, 0.1], [0.8, 0.1]]), torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(0.5000)

    """

    def __init__(self, k: int = 20, temperature: float = 0.07, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k must be at least 1; got {k}.")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0; got {temperature}.")
        self.k = k
        self.temperature = temperature

    def compute(self) -> Tensor:
        """Return the accuracy over all queries."""
        labels = self.rows("query_labels")
        predicted = knn_predict(
            self.rows("queries"), self.rows("bank"), self.rows("bank_labels"), self.k, self.temperature
        )
        return (predicted == labels).float().mean()
