"""K-means on the unit sphere."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.functional.counter_random import counter_uniform

ROWS = 65536
"""Rows whose similarities to all centroids exist at once."""


@torch.no_grad()
def kmeans(
    z: Tensor, clusters: int, iterations: int = 20, seed: int = 0, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Spherical k-means: rows go to the centroid of the largest cosine, centroids to the direction of their rows' mean.

    Seeded as k-means++ (Arthur and Vassilvitskii 2007), by a counter, so that the result depends on rows and seed alone.
    A centroid that nobody chose takes the row that fits its own centroid worst. Stops early when nothing moves.

    Args:
        z: ``[N, D]``; rows are brought to unit length.
        clusters: ``K``, ``1 <= K <= N``.
        iterations: at most, >= 1.
        seed: of the first centroids.
        start: ``[K, D]`` to go on from; keeps the numbers of the clusters.

    Returns:
        Centroids of unit length ``[K, D]`` and the cluster of each row, int64 ``[N]``.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> cluster = kmeans(z, 2)[1]
        >>> bool(cluster[0] == cluster[1]), bool(cluster[0] == cluster[2])
        (True, False)
    """
    if z.dim() != 2 or not 1 <= clusters <= len(z):
        raise ValueError(f"kmeans: clusters={clusters} of rows {list(z.shape)}: need [N, D] and 1 <= clusters <= N.")
    if iterations < 1:
        raise ValueError(f"kmeans: iterations={iterations}: must be at least 1.")
    z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
    if start is not None and start.shape != (clusters, z.shape[1]):
        raise ValueError(f"kmeans: start has shape {list(start.shape)}, needed is {[clusters, z.shape[1]]}.")
    centroid = _seeds(z, clusters, seed) if start is None else F.normalize(start.to(z), dim=1)
    cluster = torch.full((len(z),), -1, dtype=torch.int64, device=z.device)
    for _ in range(iterations):
        before, (fit, cluster) = cluster, nearest_centroid(z, centroid)
        if torch.equal(before, cluster):
            break
        count = torch.bincount(cluster, minlength=clusters)
        empty = (count == 0).nonzero().squeeze(1)
        centroid = torch.zeros_like(centroid).index_add_(0, cluster, z)
        centroid[empty] = z[fit.argsort(stable=True)[: len(empty)]]
        centroid = F.normalize(centroid, dim=1)
    return centroid, nearest_centroid(z, centroid)[1]


@torch.no_grad()
def nearest_centroid(z: Tensor, centroid: Tensor) -> tuple[Tensor, Tensor]:
    """Largest inner product of each row with a centroid, and which: ``[N]`` each. ``z: [N, D]``, ``centroid: [K, D]``."""
    found = [(part @ centroid.mT).max(1) for part in z.split(max(1, ROWS * 128 // max(128, len(centroid))))]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _seeds(z: Tensor, clusters: int, seed: int) -> Tensor:
    """K-means++: each further centroid a row, drawn by its squared distance to those there are."""
    u = counter_uniform(torch.arange(clusters, device=z.device), 1, seed=seed)[:, 0].double()
    chosen = [int(u[0] * len(z))]
    gap = torch.full((len(z),), torch.inf, dtype=torch.float64, device=z.device)
    for number in range(1, clusters):
        gap = torch.minimum(gap, (1 - (z @ z[chosen[-1]]).double()).clamp(min=0))
        total = gap.cumsum(0)
        place = torch.searchsorted(total, u[number] * total[-1], right=True)
        chosen.append(min(int(place), len(z) - 1))
    return z[chosen]
