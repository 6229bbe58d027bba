"""Linear probe accuracies: closed-form ridge, and with a few labels a class."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.few_label import few_label_accuracy
from lightning_contrast.functional.ridge import RidgeStatistics, ridge_fit_statistics, ridge_statistics
from lightning_contrast.metrics.bank_metric import BankMetric
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class RidgeProbe(EmbeddingMetric):
    """Accuracy of a ridge probe whose training data are kept as sums only, exact over ranks.

    Memory is D x D, however many rows train. :meth:`update_bank` takes training rows, :meth:`update` rows to
    classify; see :func:`lightning_contrast.functional.ridge.ridge_fit`.

    Args:
        dim: width D of the embeddings.
        classes: number of classes, at least 2.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1].

    Example:
        >>> import torch
        >>> metric = RidgeProbe(dim=1, classes=2)
        >>> metric.update_bank(torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1]))
        >>> metric.update(torch.tensor([[0.2], [0.9]]), torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(1.)

    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    row_states = ("queries", "query_labels")

    class_rows: Tensor
    class_total: Tensor
    gram: Tensor

    def __init__(self, dim: int, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dim < 1:
            raise ValueError(f"dim must be at least 1; got {dim}.")
        if classes < 2:
            raise ValueError(f"classes must be at least 2; got {classes}.")
        self.classes = classes
        self.add_state("class_rows", zeros(classes), dist_reduce_fx="sum")
        self.add_state("class_total", zeros(classes, dim), dist_reduce_fx="sum")
        self.add_state("gram", zeros(dim, dim), dist_reduce_fx="sum")

    def update_bank(self, z: Tensor, labels: Tensor) -> None:
        """Add training rows: ``z`` [N, D], ``labels`` integers [N] in [0, classes)."""
        self._computed = None
        found = ridge_statistics(z, labels, self.classes)
        self.class_rows = self.class_rows + found.rows
        self.class_total = self.class_total + found.total
        self.gram = self.gram + found.gram

    def update(self, z: Tensor, labels: Tensor) -> None:
        """Add rows to be classified: ``z`` [N, D], ``labels`` integers [N]."""
        self.keep_rows(queries=z, query_labels=labels)

    def compute(self) -> Tensor:
        """Fit the probe and return its accuracy over all queries."""
        labels = self.rows("query_labels")
        probe = ridge_fit_statistics(RidgeStatistics(self.class_rows, self.class_total, self.gram))
        return (probe.predict(self.rows("queries")) == labels).float().mean()


class FewLabelAccuracy(BankMetric):
    """Mean accuracy of ridge probes on fixed draws of a few labels a class.

    The draws depend on the order of the rows, over ranks on that of the gathered ones; with the same
    order they are the same. See :func:`lightning_contrast.functional.few_label.few_label_accuracy`.

    Args:
        shots: labels a class, at least 1.
        draws: number of draws, at least 1.
        seed: of the first draw.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1].

    Example:
        >>> import torch
        >>> metric = FewLabelAccuracy(shots=1, draws=2)
        >>> z, labels = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1])
        >>> metric.update_bank(z, labels)
        >>> metric.update(z, labels)
        >>> metric.compute()
        tensor(1.)

    """

    def __init__(self, shots: int = 10, draws: int = 10, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(shots, draws) < 1:
            raise ValueError(f"shots and draws must be at least 1; got {shots} and {draws}.")
        self.shots, self.draws, self.seed = shots, draws, seed

    def compute(self) -> Tensor:
        """Return the mean accuracy over the draws."""
        bank, queries = self.rows("bank"), self.rows("queries")
        found = few_label_accuracy(
            bank,
            self.rows("bank_labels"),
            queries,
            self.rows("query_labels"),
            self.shots,
            self.draws,
            self.seed,
        )
        return found.mean().float()
