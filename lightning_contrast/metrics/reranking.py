"""Candidates of a query in the right order, as a Metric."""

from torch import Tensor

from lightning_contrast.functional.reranking import reranking_figures
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric
from lightning_contrast.metrics.pair_correlation import cosines_of


class Reranking(EmbeddingMetric):
    """MAP, MRR@k and nDCG@k of each query's own candidates, by cosine; exact over ranks.

    sentence-transformers' ``RerankingEvaluator``; see :func:`lightning_contrast.functional.reranking.reranking_figures`.

    Args:
        k: cut-off of MRR and nDCG.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict from ``map``, ``mrr@k`` and ``ndcg@k`` to 0-d tensors in [0, 1]; ``nan`` if no query has both
        relevant and other candidates.

    Raises:
        ValueError: for ``k < 1``; for rows that are not finite.

    Example:
        >>> metric = Reranking()
        >>> query, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.1], [1.0, 1.0], [0.0, 1.0]])
        >>> metric.update(query.expand(3, 2), candidates, torch.tensor([0, 1, 0]), torch.zeros(3, dtype=torch.int64))
        >>> metric.compute()["mrr@10"]
        tensor(0.5000)

    """

    higher_is_better = True
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    row_states = ("cosines", "grades", "groups")

    def __init__(self, k: int = 10, **kwargs: object) -> None:
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k={k}: must be at least 1.")
        self.k = k

    def update(self, query: Tensor, candidate: Tensor, grade: Tensor, group: Tensor) -> None:
        """Add candidates: each beside its query, [N, D] both; ``grade`` [N] (relevant: above 0), ``group`` [N]: which query."""
        self.keep_rows(cosines=cosines_of(query, candidate), grades=grade.double(), groups=group)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures, averaged over the queries that have both kinds of candidates."""
        found = reranking_figures(self.rows("cosines"), self.rows("grades"), self.rows("groups"), self.k)
        return {name: value.float() for name, value in found.items()}
