"""How concentrated augmented data are: distances between the sets of views of two samples."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.geometry import tolerance_sums

TILE = 2**22  # distances of views that exist at a time


def augmented_distance(views: Tensor) -> Tensor:
    r""":math:`d_A(x_1, x_2) = \min_{a \in A(x_1), b \in A(x_2)} \|a - b\|`, over the views given of each sample.

    Huang et al., "Towards the Generalization of Contrastive Self-Supervised Learning" (ICLR 2023), definition 1.

    Args:
        views: [N, M, ...], M >= 1 views of each sample, in input space or a fixed feature space.

    Returns:
        [N, N], symmetric, diagonal 0; more views never raise an entry.

    Raises:
        ValueError: no views.

    Example:
        >>> augmented_distance(torch.tensor([[[0.0], [1.0]], [[4.0], [3.0]]]))
        tensor([[0., 2.],
                [2., 0.]])

    """
    if views.dim() < 3 or not views.shape[1]:
        raise ValueError(f"views must be [N, M >= 1, ...]; got {tuple(views.shape)}.")
    n, m = views.shape[:2]
    flat = views.flatten(2)
    flat = (flat if flat.is_floating_point() else flat.float()).flatten(0, 1)
    rows = max(1, TILE // max(1, n * m * m))
    found = [
        torch.cdist(part, flat, compute_mode="donot_use_mm_for_euclid_dist").view(-1, m, n, m).amin((1, 3))
        for part in flat.split(rows * m)
    ]
    return (torch.cat(found) if found else flat.new_zeros(0, 0)).fill_diagonal_(0)


def concentration(distance: Tensor, deltas: Sequence[float]) -> Tensor:
    r""":math:`\sigma(\delta)` of one class: the share of samples in a set whose distances are all at most delta.

    The largest such set is a clique, which is hard to find. This one is grown greedily from samples with many
    neighbours, and a set found for a smaller delta counts for a larger one: a lower bound that never falls with delta.

    Args:
        distance: [N, N] of :func:`augmented_distance`, of one class.
        deltas: at least 0, rising.

    Returns:
        float64 [len(deltas)], in [1 / N, 1]; 1 from the largest distance on.

    Raises:
        ValueError: for deltas that do not rise, or an empty class.

    Example:
        >>> line = torch.tensor([0.0, 1.0, 2.0, 9.0])
        >>> concentration((line[:, None] - line).abs(), [0.5, 1.0, 2.0, 9.0])
        tensor([0.2500, 0.5000, 0.7500, 1.0000], dtype=torch.float64)

    """
    check_deltas(deltas)
    if not len(distance):
        raise ValueError("concentration needs at least one sample of the class.")
    share = [_clique(distance <= delta) / len(distance) for delta in deltas]
    return torch.tensor(share, dtype=torch.float64).cummax(0).values


def check_deltas(deltas: Sequence[float]) -> None:
    """Check the distances at which concentration is told.

    Raises:
        ValueError: none, a negative one, or deltas that do not rise.

    """
    if not deltas or deltas[0] < 0 or any(a >= b for a, b in itertools.pairwise(deltas)):
        raise ValueError(f"deltas={list(deltas)}: give distances >= 0, smaller ones first.")


def _clique(near: Tensor) -> int:
    """Size of a set of samples that are all near each other, grown from each of the 16 with most neighbours."""
    best = 0
    for start in near.sum(1).argsort(descending=True, stable=True)[:16].tolist():
        open_to, size, choice = near[start].clone(), 1, start
        while True:
            open_to[choice] = False
            rest = open_to.nonzero()[:, 0]
            if not len(rest):
                break
            choice = int(rest[near[rest][:, rest].sum(1).argmax()])
            open_to &= near[choice]
            size += 1
        best = max(best, size)
    return best


def misaligned(views: Tensor, eps: float) -> Tensor:
    r""":math:`R_\varepsilon = P(\sup_{a, b} \|f(a) - f(b)\| > \varepsilon)`: which samples have views far apart.

    Args:
        views: [N, M, D] embeddings of M views; normalised here.
        eps: at least 0.

    Returns:
        bool [N].

    """
    unit = F.normalize(views.float(), dim=2)
    return torch.cdist(unit, unit, compute_mode="donot_use_mm_for_euclid_dist").amax((1, 2)) > eps


def class_divergence(z: Tensor, labels: Tensor) -> Tensor:
    r"""Largest :math:`\mu_k \cdot \mu_l`, :math:`k \ne l`, of class centres (means of unit rows, not normalised).

    Args:
        z: [N, D].
        labels: integers [N], at least two classes.

    Returns:
        0-d float64, in [-1, 1].

    """
    total, count = tolerance_sums(z, labels, int(labels.max()) + 1 if len(labels) else 0)
    return class_divergence_from_sums(total, count)


def class_divergence_from_sums(total: Tensor, count: Tensor) -> Tensor:
    """The same from sums of unit rows [C, D] and counts [C].

    Raises:
        ValueError: fewer than two classes that occur.

    """
    seen = count > 0
    if int(seen.sum()) < 2:
        raise ValueError(f"class divergence needs at least two classes; got {int(seen.sum())}.")
    centre = total[seen] / count[seen, None]
    return (centre @ centre.T).fill_diagonal_(-torch.inf).max()
