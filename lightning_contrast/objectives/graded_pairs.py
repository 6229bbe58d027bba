"""Pairs with grades: the order of their similarities over the whole batch."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Scores, Similarity
from lightning_contrast.functional.graded_order import cosent, pearson, preference_order, rank_kl
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.paired import positives_only, temperature_of
from lightning_contrast.temperatures import TemperatureModule


class GradedPairs(Objective):
    """A function of the similarities ``x`` of all pairs, over all ranks, and of their grades ``y``. Nothing else is scored.

    A subclass writes :meth:`compare`. A pair that a callback excluded is left out.

    Args:
        temperature: similarities are divided by it; a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        key: payload of grades, ``[N]``.
    """

    reduction = "batch"
    needs = frozenset()

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        key: str = "score",
    ) -> None:
        super().__init__(temperature, similarity)
        self.key = key
        self.requires = (key,)  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """Each anchor with its own partner: no matrix."""
        contrast.anchors.get(self.key)
        return super().prepare(positives_only(contrast))

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        mass = scores.target_mass()
        there = mass > 0
        x = scores.target_sum()[there] / mass[there]
        return self.compare(x, getattr(scores.anchor, self.key)[there], scores)

    def compare(self, x: Tensor, y: Tensor, scores: Scores) -> Tensor:
        """The loss of similarities over the temperature, ``[n]``, and grades, ``[n]``; 0-d."""
        raise NotImplementedError


class CoSENT(GradedPairs):
    """``log(1 + sum_{y_i > y_j} exp((x_j - x_i) / tau))``: a better pair must be more similar (Su 2022).

    ``CoSENTLoss`` of sentence-transformers, whose ``scale`` is ``1 / tau``; its ``AnglELoss`` is this with the similarity
    ``ComplexAngle``.

    Example:
        >>> from lightning_contrast import Contrast
        >>> a, b = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(CoSENT(temperature=1.0)(Contrast.from_pairs(a, b, score=torch.tensor([1.0, 0.0]))).item(), 5)
        0.31326
    """

    def compare(self, x: Tensor, y: Tensor, scores: Scores) -> Tensor:
        """0-d."""
        return cosent(x, y)


class CoDiEmb(GradedPairs):
    """Weighted sum of Pearson, ranking-divergence and preference-order losses: CoDiEmb's for graded similarity (2025).

    Its retrieval part is ``DecoupledSoftmax(positives="mean")``. Sure: high for the three losses; the weights are ours.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        key: payload of grades, ``[N]``.
        pearson: weight of ``1 - corr(x, y)``, >= 0.
        rank_kl: weight of ``KL(softmax(g / tau) || softmax(x / tau))``, ``g`` from the ranks of ``y`` alone, >= 0.
        order: weight of the preference-order loss, >= 0.

    Raises:
        ValueError: for a negative weight, or none above 0.
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        key: str = "score",
        pearson: float = 1.0,
        rank_kl: float = 1.0,
        order: float = 1.0,
    ) -> None:
        super().__init__(temperature, similarity, key)
        self.weights = (pearson, rank_kl, order)
        if min(self.weights) < 0 or not 0 < max(self.weights) < float("inf"):
            raise ValueError(f"pearson, rank_kl, order = {self.weights}: finite weights >= 0, one of them above 0.")

    def compare(self, x: Tensor, y: Tensor, scores: Scores) -> Tensor:
        """0-d."""
        tau = temperature_of(scores)
        if isinstance(tau, Tensor) and tau.dim():
            raise ValueError("CoDiEmb compares pairs with each other: they need one temperature in common.")
        parts = (pearson(x, y), rank_kl(x, y, tau), preference_order(x, y))
        return torch.stack([w * part for w, part in zip(self.weights, parts, strict=True) if w]).sum()
