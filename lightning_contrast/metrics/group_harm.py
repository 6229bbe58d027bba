"""Harm to groups under imbalanced training, as Metrics over two encoders."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.geometry import tolerance_sums
from lightning_contrast.functional.group_harm import (
    allocation_harm,
    confusion_counts,
    group_cosine,
    representation_harm,
)
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric, zeros


class RepresentationHarm(EmbeddingMetric):
    """How far each group moved towards each other one when training was imbalanced (ICLR 2024), from group sums.

    Give one balanced test set as two encoders see it: trained with few samples of a group, and trained on balanced data
    (``FashionMNISTDataModule(rare={6: 0.01})`` and without).

    Args:
        dim: width D of the embeddings of both encoders.
        groups: number of groups, at least 2.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of ``ratio`` [G, G] (row k: below 1 towards which k collapsed; 1: nothing changed, 0: it
        lies there), ``worst`` [G], the smallest of each row, and ``towards`` [G], which group that is.

    Example:
        >>> metric = RepresentationHarm(dim=2, groups=2)
        >>> z, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
        >>> metric.update(z, z, labels)
        >>> metric.compute()["worst"]
        tensor([1., 1.])

    """

    imbalanced: Tensor
    balanced: Tensor
    count: Tensor

    def __init__(self, dim: int, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if groups < 2:
            raise ValueError(f"groups must be at least 2; got {groups}.")
        self.groups = groups
        self.add_state("imbalanced", zeros(groups, dim), dist_reduce_fx="sum")
        self.add_state("balanced", zeros(groups, dim), dist_reduce_fx="sum")
        self.add_state("count", zeros(groups), dist_reduce_fx="sum")

    def update(self, imbalanced: Tensor, balanced: Tensor, labels: Tensor) -> None:
        """Add test samples: [N, D] by the one encoder, [N, D] by the other, ``labels`` integers [N] in [0, groups)."""
        total, count = tolerance_sums(imbalanced.detach(), labels, self.groups)
        self.imbalanced = self.imbalanced + total
        self.balanced = self.balanced + tolerance_sums(balanced.detach(), labels, self.groups)[0]
        self.count = self.count + count

    def compute(self) -> dict[str, Tensor]:
        """Return the harm of all samples."""
        found = [group_cosine(total, self.count) for total in (self.imbalanced, self.balanced)]
        ratio = representation_harm(*found).fill_diagonal_(torch.nan)
        worst = ratio.nan_to_num(torch.inf).min(1)
        return {"ratio": ratio.float(), "worst": worst.values.float(), "towards": worst.indices}

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the ratios as a table of colours, rows are the groups that were harmed."""
        return draw_matrix(val or self.compute(), "ratio", ax)


class AllocationHarm(EmbeddingMetric):
    """How much oftener each group is taken for each other one, through the representation and through the probe.

    Four predictions of one balanced test set: encoder and probe each trained on imbalanced or on balanced data.

    Args:
        groups: number of groups, at least 2.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: dict of ``total``, ``mediated``, ``direct``, ``interaction`` [G, G], in [-2, 2]; the first is the
        sum of the others, and each row sums to 0.

    Example:
        >>> metric, truth, lost = AllocationHarm(groups=2), torch.tensor([0, 0, 1]), torch.tensor([1, 0, 1])
        >>> metric.update(truth, both=lost, encoder=lost, probe=truth, neither=truth)
        >>> float(metric.compute()["mediated"][0, 1])
        0.5

    """

    counts: Tensor

    def __init__(self, groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if groups < 2:
            raise ValueError(f"groups must be at least 2; got {groups}.")
        self.groups = groups
        self.add_state("counts", zeros(4, groups, groups), dist_reduce_fx="sum")

    def update(self, labels: Tensor, both: Tensor, encoder: Tensor, probe: Tensor, neither: Tensor) -> None:
        """Add predictions [N] of what was trained on imbalanced data: both, the encoder, the probe, neither."""
        found = [confusion_counts(one, labels, self.groups) for one in (both, encoder, probe, neither)]
        self.counts = self.counts + torch.stack(found)

    def compute(self) -> dict[str, Tensor]:
        """Return the changes over all samples."""
        return {name: value.float() for name, value in allocation_harm(*self.counts)._asdict().items()}

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the total as a table of colours, rows are the true groups."""
        return draw_matrix(val or self.compute(), "total", ax)


def draw_matrix(found: dict[str, Tensor], name: str, ax: Any) -> Any:
    """Draw one [G, G] entry of a result, with its numbers where there is room."""
    from lightning_contrast.metrics.canvas import new_figure, write_title

    matrix = found[name].cpu()
    figure, axes = new_figure(5.5, 5.0) if ax is None else (ax.figure, ax)
    axes.grid(False)
    picture = axes.imshow(matrix.numpy(), cmap="viridis")
    figure.colorbar(picture, ax=axes, shrink=0.8)
    axes.set(xlabel="towards group", ylabel="group")
    write_title(axes, name)
    if len(matrix) <= 12:
        for i, row in enumerate(matrix.tolist()):
            for j, value in enumerate(row):
                if value == value:
                    axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white")
    return figure, axes
