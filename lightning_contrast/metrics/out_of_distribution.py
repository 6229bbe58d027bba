"""Out-of-distribution detection on frozen features, as a Metric."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.wdiscood import wdiscood_fit
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class OutOfDistribution(EmbeddingMetric):
    """How well WDiscOOD's score tells in-distribution rows from others: AUROC, FPR95 (Chen et al., ICCV 2023).

    :meth:`update_bank` takes labelled training rows, :meth:`update` rows to be told apart.

    Args:
        alpha: weight of the residual, at least 0.
        discriminants: at most that many; by default classes - 1.
        normalize: use unit features.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of ``auroc`` (0.5: chance, 1: perfect) and ``fpr95``, the share of foreign rows that pass
        when 95 % of the others do. The scores themselves are in :meth:`scores`.

    Example:
        >>> metric = OutOfDistribution()
        >>> z = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
        >>> metric.update_bank(z, torch.tensor([0, 0, 1, 1]))
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([False, True]))
        >>> metric.compute()["auroc"]
        tensor(1.)

    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    row_states = ("bank", "bank_labels", "queries", "foreign")

    def __init__(
        self, alpha: float = 1.0, discriminants: int | None = None, normalize: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if alpha < 0:
            raise ValueError(f"alpha must be at least 0; got {alpha}.")
        self.alpha, self.discriminants, self.normalize = alpha, discriminants, normalize

    def update_bank(self, z: Tensor, labels: Tensor) -> None:
        """Add training rows: ``z`` [N, D], ``labels`` integers [N]."""
        self._computed = None
        self.keep_rows(bank=z, bank_labels=labels)

    def update(self, z: Tensor, foreign: Tensor) -> None:
        """Add rows to be told apart: ``z`` [N, D], ``foreign`` bool [N], true where a row is out of distribution."""
        self.keep_rows(queries=z, foreign=foreign.bool())

    def scores(self) -> Tensor:
        """Return the score of every row [N], higher is more like the training rows."""
        bank, labels = self.rows("bank"), self.rows("bank_labels")
        fitted = wdiscood_fit(bank, labels, self.alpha, self.discriminants, self.normalize)
        return fitted.score(self.rows("queries"))

    def compute(self) -> dict[str, Tensor]:
        """Return the figures over all rows.

        Raises:
            ValueError: only one kind of rows.

        """
        score, foreign = self.scores(), self.rows("foreign")
        if bool(foreign.all()) or not bool(foreign.any()):
            raise ValueError("OutOfDistribution needs rows of both kinds: foreign=True and foreign=False.")
        inside, outside = score[~foreign].sort().values, score[foreign].contiguous()
        below = torch.searchsorted(inside, outside) + torch.searchsorted(inside, outside, right=True)
        threshold = inside[int(0.05 * len(inside))]  # at least 95 % of the inside lie on or above it
        return {
            "auroc": (1 - below.double().mean() / (2 * len(inside))).float(),
            "fpr95": (outside >= threshold).double().mean().float(),
        }
