"""Whether two languages (or modalities) find each other, and equally well, as a Metric."""

import torch
from torch import Tensor

from lightning_contrast.functional.rank_variance import mean_rank_variance, ranks_of_match
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class TwoWayAgreement(EmbeddingMetric):
    """Pairs of equal meaning search each other both ways: recall@1 of each way, and how much the ranks differ; exact over ranks.

    ``mrv`` is the mean rank variance of Nie et al. (1-to-K contrastive learning, KDD 2024) over the two ways: 0 where both
    find an item at the same rank, 1/4 where the ranks differ by one.

    Args:
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict with ``recall@1`` (of the second given the first), ``recall@1_back`` and ``mrv``, 0-d tensors.

    Raises:
        ValueError: for rows that are not finite, or shapes that differ.

    Example:
        >>> metric = TwoWayAgreement()
        >>> metric.update(torch.tensor([[1.0, 0.0], [1.0, 0.2]]), torch.tensor([[1.0, 0.1], [0.0, 1.0]]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'recall@1': 0.5, 'recall@1_back': 0.5, 'mrv': 0.25}

    """

    higher_is_better = None
    row_states = ("first", "second")

    def update(self, first: Tensor, second: Tensor) -> None:
        """Add pairs, [N, D] both; an item is to be given once."""
        if first.shape != second.shape:
            raise ValueError(f"pairs need equal shapes; got {list(first.shape)} and {list(second.shape)}.")
        for name, z in (("first", first), ("second", second)):
            if not bool(torch.isfinite(z).all()):
                raise ValueError(f"{int((~torch.isfinite(z)).any(1).sum())} of {len(z)} rows of {name} are not finite.")
        self.keep_rows(first=first, second=second)

    def compute(self) -> dict[str, Tensor]:
        """Return the figures over all pairs."""
        first, second = self.rows("first"), self.rows("second")
        match = torch.arange(len(first), device=first.device)
        ranks = torch.stack([ranks_of_match(first, second, match), ranks_of_match(second, first, match)], 1)
        found = (ranks == 1).double().mean(0)
        return {
            "recall@1": found[0].float(),
            "recall@1_back": found[1].float(),
            "mrv": mean_rank_variance(ranks).float(),
        }
