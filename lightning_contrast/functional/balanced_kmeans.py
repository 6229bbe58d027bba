"""K-means whose clusters are equally large."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.functional.kmeans import kmeans


@torch.no_grad()
def balanced_kmeans(z: Tensor, clusters: int, iterations: int = 5, seed: int = 0) -> Tensor:
    """Spherical k-means with sizes that differ by at most 1 (Hou et al. 2023, SBCL, section 3.2).

    Starts from the centroids of :func:`kmeans`; then, in turn, rows are shared out by :func:`balanced_assignment` and
    centroids become the direction of their rows' mean.

    Args:
        z: ``[N, D]``; rows are brought to unit length.
        clusters: ``K``, ``1 <= K <= N``.
        iterations: of both steps, >= 1.
        seed: of the first centroids.

    Returns:
        The cluster of each row, int64 ``[N]``.

    Raises:
        ValueError: for values out of range.
    """
    centroid, cluster = kmeans(z, clusters, iterations, seed)
    z = F.normalize(z.to(centroid), dim=1)
    for _ in range(iterations):
        before, cluster = cluster, balanced_assignment(z @ centroid.mT)
        if torch.equal(before, cluster):
            break
        centroid = F.normalize(torch.zeros_like(centroid).index_add_(0, cluster, z), dim=1)
    return cluster


def balanced_assignment(score: Tensor) -> Tensor:
    """A column for every row, each column ``N // K`` or ``N // K + 1`` times; int64 ``[N]``.

    Rows ask for the best column that has room; a column takes the rows of the highest score and is full for the others,
    until nobody is left. The ``N mod K`` rows that remain when all columns have ``N // K`` are shared out likewise, one a
    column. Greedy: sizes are exact, the sum of scores is not the largest possible.

    Args:
        score: ``[N, K]``, ``N >= K``.
    """
    n, k = score.shape
    out = torch.full((n,), -1, dtype=torch.int64, device=score.device)
    for room in (n // k, 1):
        left = torch.full((k,), room, dtype=torch.int64, device=score.device)
        while bool((out < 0).any()) and bool((left > 0).any()):
            rows = (out < 0).nonzero()[:, 0]
            best, column = score[rows].masked_fill(left == 0, -torch.inf).max(1)
            # By column, the best first; the place within the column says who still finds room.
            order = best.argsort(descending=True, stable=True)
            order = order[column[order].argsort(stable=True)]
            asked = torch.bincount(column, minlength=k)
            place = torch.arange(len(rows), device=score.device) - (asked.cumsum(0) - asked)[column[order]]
            taken = order[place < left[column[order]]]
            out[rows[taken]] = column[taken]
            left -= torch.bincount(column[taken], minlength=k)
    return out
