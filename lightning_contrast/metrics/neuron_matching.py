"""Whether two networks have the same units, as a Metric."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.neuron_matching import (
    UnitMatches,
    UnitSums,
    match_units,
    sparse_prediction,
    unit_correlation,
    unit_sums,
)
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class UnitMatching(EmbeddingMetric):
    """Correlation of the units of two networks, matched one to one and freely, from sums (Li et al., ICLR 2016).

    Give activations of the same samples, for instance of one layer of two networks from different seeds.

    Args:
        first: units U of the first network.
        second: units V of the second.
        penalty: of the sparse prediction, at least 0.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of ``one_to_one`` and ``best`` (mean correlations, 1 for permuted units) and
        ``predictors``, the mean number of units of the first that predict one of the second. The matching itself is in
        :meth:`matches`.

    Example:
        >>> import torch
        >>> metric, z = UnitMatching(2, 2), torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> metric.update(z, z.flip(1))
        >>> round(float(metric.compute()["one_to_one"]), 5)
        1.0

    """

    plot_upper_bound = 1.0

    samples: Tensor
    total: Tensor
    gram: Tensor

    def __init__(self, first: int, second: int, penalty: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if min(first, second) < 1:
            raise ValueError(f"first and second are numbers of units, at least 1; got {first} and {second}.")
        if penalty < 0:
            raise ValueError(f"penalty must be at least 0; got {penalty}.")
        self.first, self.penalty = first, penalty
        self.add_state("samples", zeros(), dist_reduce_fx="sum")
        self.add_state("total", zeros(first + second), dist_reduce_fx="sum")
        self.add_state("gram", zeros(first + second, first + second), dist_reduce_fx="sum")

    def update(self, f: Tensor, g: Tensor) -> None:
        """Add samples: activations ``f`` [N, U] and ``g`` [N, V]."""
        for name, value in unit_sums(f, g)._asdict().items():
            setattr(self, name, getattr(self, name) + value)

    def matches(self) -> UnitMatches:
        """Return the matching over the samples of this rank (of all inside ``sync_context``)."""
        return match_units(self._correlation()[: self.first, self.first :])

    def _correlation(self) -> Tensor:
        return unit_correlation(UnitSums(self.samples, self.total, self.gram))

    def compute(self) -> dict[str, Tensor]:
        """Return the means over units."""
        found, weight = self.matches(), sparse_prediction(self._correlation(), self.first, self.penalty)
        return {
            "one_to_one": found.matched.mean().float(),
            "best": found.semi.mean().float(),
            "predictors": (weight.abs() > 1e-6).sum(0).double().mean().float(),
        }
