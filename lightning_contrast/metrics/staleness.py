"""How far the entries of a queue or bank are from what the encoder of now would give, as a Metric."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.staleness import cosine_drift
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class QueueStaleness(EmbeddingMetric):
    """Drift of stored keys, one minus their cosine with the keys of now, by age; from sums, exact over ranks.

    Wang et al., "Cross-Batch Memory for Embedding Learning" (CVPR 2020), section 3.1, measure feature drift in this way, by
    squared distance, which of unit rows is twice this.

    Args:
        ages: edges of the bins in optimizer steps, rising, the first at least 0; a bin holds ages from its edge up to the
            next one, the last bin all that are older. Entries younger than the first edge count in ``drift`` alone.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of 0-d ``drift`` in [0, 2] (0: as if made now) and ``age``, their means over all entries, and
        ``by_age`` [len(ages)], the drift of each bin, nan where it is empty.

    Example:
        >>> metric = QueueStaleness(ages=[0, 10])
        >>> stored, fresh = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> metric.update(stored, fresh, age=torch.tensor([1, 20]))
        >>> metric.compute()["by_age"]
        tensor([0., 1.])

    """

    higher_is_better = False
    plot_lower_bound = 0.0

    drift: Tensor
    age: Tensor
    count: Tensor
    bin_drift: Tensor
    bin_count: Tensor

    def __init__(self, ages: Sequence[float] = (0, 1, 4, 16, 64, 256, 1024, 4096), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not ages or ages[0] < 0 or any(a >= b for a, b in itertools.pairwise(ages)):
            raise ValueError(f"ages={list(ages)}: give edges in optimizer steps, at least 0, smaller ones first.")
        self.ages = tuple(float(age) for age in ages)
        for name in ("drift", "age", "count"):
            self.add_state(name, zeros(), dist_reduce_fx="sum")
        for name in ("bin_drift", "bin_count"):
            self.add_state(name, zeros(len(ages)), dist_reduce_fx="sum")

    def update(self, stored: Tensor, fresh: Tensor, age: Tensor) -> None:
        """Add entries: ``stored`` and ``fresh`` [N, D], what is held and what the encoder gives now, ``age`` [N] in steps.

        Raises:
            ValueError: shapes that differ, or negative ages.

        """
        if stored.shape != fresh.shape or stored.dim() != 2 or age.shape != stored.shape[:1]:
            shapes = [list(t.shape) for t in (stored, fresh, age)]
            raise ValueError(f"stored and fresh must be [N, D] and age [N], one row an entry; got {shapes}.")
        if bool((age < 0).any()):
            raise ValueError(f"ages are optimizer steps since the entry was made, at least 0; got {age.min()}.")
        drift = cosine_drift(stored, fresh)
        place = torch.bucketize(
            age.double(), torch.tensor(self.ages, dtype=torch.float64, device=age.device), right=True
        )
        known = place > 0
        self.drift, self.age = self.drift + drift.sum(), self.age + age.double().sum()
        self.count = self.count + len(drift)
        self.bin_drift = self.bin_drift.index_add(0, place[known] - 1, drift[known])
        self.bin_count = self.bin_count.index_add(0, place[known] - 1, torch.ones_like(drift[known]))

    def compute(self) -> dict[str, Tensor]:
        """Return the drift of all entries."""
        return {
            "drift": (self.drift / self.count).float(),
            "age": (self.age / self.count).float(),
            "by_age": (self.bin_drift / self.bin_count).float(),
        }

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw drift over age: a line for each value, bins without entries left out.

        Args:
            val: a result of ``compute`` or ``forward``, or a list of them; by default ``compute()``.
            ax: matplotlib axes to draw on.

        Returns:
            Figure and axes.

        """
        from lightning_contrast.metrics.canvas import COLOURS, new_figure, write_title

        found = [self.compute()] if val is None else val if isinstance(val, (list, tuple)) else [val]
        figure, axes = new_figure(5.5, 3.6) if ax is None else (ax.figure, ax)
        for i, one in enumerate(found):
            known = [
                (age, drift) for age, drift in zip(self.ages, one["by_age"].tolist(), strict=True) if drift == drift
            ]
            axes.plot(*zip(*known, strict=True), color=COLOURS[i % len(COLOURS)], marker="o") if known else None
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set(xlabel="age in optimizer steps, from", ylabel="1 - cosine")
        axes.set_ylim(bottom=0.0)
        write_title(axes, "Drift of stored keys")
        return figure, axes
