"""Accuracy of a linear probe that is trained."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.logistic import logistic_probe
from lightning_contrast.metrics.bank_metric import BankMetric


class LogisticProbe(BankMetric):
    """Share of queries whose class a logistic regression on the bank predicts, trained to its optimum.

    :class:`RidgeProbe` is its closed form: cheaper, and its memory does not grow with the bank. Both are gathered over
    ranks; see :func:`lightning_contrast.functional.logistic.logistic_probe`.

    Args:
        penalty: of the squared weights, above 0; scikit-learn's ``1 / C``.
        iterations: of L-BFGS at most, at least 1.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d, in [0, 1].

    Example:
        >>> import torch
        >>> metric = LogisticProbe()
        >>> metric.update_bank(torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([0, 0, 1, 1]))
        >>> metric.update(torch.tensor([[0.2], [0.9]]), torch.tensor([0, 1]))
        >>> metric.compute()
        tensor(1.)

    """

    def __init__(self, penalty: float = 1.0, iterations: int = 300, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not penalty > 0 or iterations < 1:
            raise ValueError(
                f"penalty={penalty}, iterations={iterations}: penalty must be above 0, iterations at least 1."
            )
        self.penalty, self.iterations = penalty, iterations

    def compute(self) -> Tensor:
        """Train the probe and return its accuracy over all queries."""
        labels, bank = self.rows("query_labels"), self.rows("bank")
        predicted = logistic_probe(
            bank, self.rows("bank_labels"), self.rows("queries"), penalty=self.penalty, iterations=self.iterations
        )
        return (predicted == labels).float().mean()
