"""Graded similarity (STS): whether pairs that people call more similar are closer, as a Metric."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from lightning_contrast.metrics.embedding_metric import EmbeddingMetric

Correlation = Literal["spearman", "pearson"]


class PairCorrelation(EmbeddingMetric):
    """Correlation between the cosines of pairs and their given scores; exact over ranks.

    Values are torchmetrics' ``spearman_corrcoef`` and ``pearson_corrcoef``.

    Args:
        kind: ``spearman``, of ranks, or ``pearson``, of the numbers themselves.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d tensor in [-1, 1].

    Raises:
        ValueError: for another kind; for one pair, or scores that are all equal: there is no order to find; for rows that
            are not finite.

    Example:
        >>> metric = PairCorrelation()
        >>> one, other = torch.eye(3), torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> metric.update(one, other, torch.tensor([5.0, 3.0, 0.5]))
        >>> round(float(metric.compute()), 4)
        1.0

    """

    higher_is_better = True
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    row_states = ("cosines", "scores")

    def __init__(self, kind: Correlation = "spearman", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in get_args(Correlation):
            raise ValueError(f"kind={kind!r}: must be one of {', '.join(get_args(Correlation))}.")
        self.kind = kind

    def update(self, query: Tensor, document: Tensor, score: Tensor) -> None:
        """Add pairs: ``query`` and ``document`` [N, D], ``score`` [N]."""
        self.keep_rows(cosines=cosines_of(query, document), scores=score.double())

    def compute(self) -> Tensor:
        """Return the correlation over all pairs."""
        scores = self.rows("scores")
        if len(scores) < 2 or bool((scores == scores[0]).all()):
            raise ValueError(
                f"{len(scores)} pairs whose scores are all equal have no order; give pairs of different scores."
            )
        correlation = spearman_corrcoef if self.kind == "spearman" else pearson_corrcoef
        return correlation(self.rows("cosines"), scores).float()


def cosines_of(query: Tensor, document: Tensor) -> Tensor:
    """Of row i with row i, float64 [N].

    Raises:
        ValueError: for other shapes, and rows that are not finite.
    """
    if query.shape != document.shape:
        raise ValueError(f"pairs need equal shapes; got {list(query.shape)} and {list(document.shape)}.")
    cosine = torch.nn.functional.cosine_similarity(query.double(), document.double(), dim=1)
    if not bool(cosine.isfinite().all()):
        raise ValueError(
            f"{int((~cosine.isfinite()).sum())} of {len(cosine)} pairs have embeddings that are not finite."
        )
    return cosine
