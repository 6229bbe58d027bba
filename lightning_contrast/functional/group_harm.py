"""What imbalanced training does to small groups: harm to representation, and to decisions made on it."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_contrast.functional.knn import check_labels


def group_cosine(total: Tensor, count: Tensor) -> Tensor:
    """Mean cosine of the samples of every two groups, from sums of unit vectors.

    Args:
        total: [G, D], the sum of each group's unit vectors.
        count: [G], rows of each group.

    Returns:
        [G, G] in [-1, 1]; on the diagonal pairs of distinct rows (nan for a group of one), nan for an empty group.

    Example:
        >>> group_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([2.0, 1.0]))
        tensor([[1., 0.],
                [0., nan]])

    """
    inner = total @ total.T
    pairs = count[:, None] * count
    same = torch.eye(len(count), dtype=torch.bool, device=total.device)
    inner = torch.where(same, inner - count, inner)
    pairs = torch.where(same, pairs - count, pairs)
    return (inner / pairs).masked_fill(pairs <= 0, torch.nan)


def representation_harm(imbalanced: Tensor, balanced: Tensor) -> Tensor:
    r""":math:`RH(k, l) = (1 - \cos_{imbalanced}(k, l)) / (1 - \cos_{balanced}(k, l))`; below 1: k moved towards l.

    "An Investigation of Representation and Allocation Harms in Contrastive Learning" (ICLR 2024), section 2.

    Args:
        imbalanced: [G, G] of :func:`group_cosine`, one test set under the encoder trained with too few of group k.
        balanced: [G, G], the same test set under the encoder trained on balanced data.

    Returns:
        [G, G], at least 0: 1 when nothing changed, 0 when k lies on l; nan where the balanced groups coincide.

    Example:
        >>> half, zero = torch.tensor([[1.0, 0.5], [0.5, 1.0]]), torch.eye(2)
        >>> float(representation_harm(half, zero)[0, 1])
        0.5

    """
    gap = 1 - balanced
    return ((1 - imbalanced) / gap).masked_fill(gap <= 0, torch.nan)


def confusion_counts(predicted: Tensor, labels: Tensor, groups: int) -> Tensor:
    """Count the predictions of every true group: float64 [G, G], rows are true groups.

    Raises:
        ValueError: labels that do not fit, or outside [0, groups).

    """
    check_labels("labels", labels, len(predicted))
    check_labels("predicted", predicted, len(labels))
    largest = max(int(labels.max()), int(predicted.max())) if len(labels) else 0
    if largest >= groups:
        raise ValueError(f"groups={groups}: labels and predictions must lie below it; got {largest}.")
    return torch.bincount(labels * groups + predicted, minlength=groups * groups).view(groups, groups).double()


class AllocationHarm(NamedTuple):
    """Changes of P(predict l | true k), each [G, G]; ``total = mediated + direct + interaction``."""

    total: Tensor  # both from imbalanced training, less both from balanced
    mediated: Tensor  # through the representation: imbalanced encoder, balanced probe
    direct: Tensor  # through the probe: balanced encoder, imbalanced probe
    interaction: Tensor  # what neither explains alone


def allocation_harm(both: Tensor, encoder: Tensor, probe: Tensor, neither: Tensor) -> AllocationHarm:
    """Split the harm to decisions into what comes through the representation and what through the probe.

    ICLR 2024, section 4; the decomposition is the usual one of mediation analysis (sure: medium).

    Args:
        both: [G, G] of :func:`confusion_counts`, encoder and probe trained on imbalanced data.
        encoder: the encoder alone.
        probe: the probe alone.
        neither: encoder and probe trained on balanced data.

    Example:
        >>> sure, lost = torch.tensor([[4.0, 0.0], [0.0, 4.0]]), torch.tensor([[1.0, 3.0], [0.0, 4.0]])
        >>> float(allocation_harm(lost, lost, sure, sure).mediated[0, 1])
        0.75

    """
    shares = [count / count.sum(1, keepdim=True) for count in (both, encoder, probe, neither)]
    total, mediated, direct = (share - shares[3] for share in shares[:3])
    return AllocationHarm(total, mediated, direct, total - mediated - direct)
