"""Which share of InfoNCE's gradient the hardest negatives carry, as a Metric."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.gradient_share import check_fractions, gradient_share
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class GradientShare(EmbeddingMetric):
    """Share of the negatives' gradient that the hardest of them carry, and how many effectively count.

    Rows of one group are positives, a row is never compared with itself; exact over ranks, tile by tile. Bound the rows you
    give it: the time grows with their square. See
    :func:`lightning_contrast.functional.gradient_share.gradient_share` (Wang and Liu, CVPR 2021).

    Args:
        temperature: of the softmax, above 0.
        fractions: of each row's negatives, in (0, 1].
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of 0-d ``hardest_1``, ``hardest_10`` (percent of the negatives: share of the gradient in
        (0, 1]) and ``effective_negatives``, at least 1.

    Example:
        >>> metric = GradientShare(temperature=0.5, fractions=[0.5])
        >>> metric.update(torch.eye(3), torch.arange(3))
        >>> {name: round(float(value), 2) for name, value in metric.compute().items()}
        {'hardest_50': 0.5, 'effective_negatives': 2.0}

    """

    row_states = ("embeddings", "groups")
    plot_lower_bound = 0.0

    def __init__(self, temperature: float = 0.1, fractions: Sequence[float] = (0.01, 0.1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0; got {temperature}.")
        check_fractions(fractions)
        self.temperature, self.fractions = temperature, tuple(fractions)

    def update(self, z: Tensor, groups: Tensor) -> None:
        """Add rows ``z`` [N, D] with ``groups`` [N]: labels, or the sample index of several views."""
        self.keep_rows(embeddings=z, groups=groups)

    def compute(self) -> dict[str, Tensor]:
        """Return the means over all rows that have negatives."""
        z, groups = self.rows("embeddings"), self.rows("groups")
        ids = torch.arange(len(z), device=z.device)
        found = gradient_share(
            z,
            z,
            groups,
            groups,
            anchor_ids=ids,
            candidate_ids=ids,
            temperature=self.temperature,
            fractions=self.fractions,
        )
        shares = {f"hardest_{100 * f:g}": share.float() for f, share in zip(self.fractions, found.hardest, strict=True)}
        return {**shares, "effective_negatives": found.effective.float()}
