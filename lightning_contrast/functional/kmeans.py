"""k-means."""

import torch
from torch import Tensor

from lightning_contrast.functional.nearest import check_embeddings

CHUNK = 2**22  # distances that exist at a time


@torch.no_grad()
def kmeans(z: Tensor, clusters: int, seed: int = 0, steps: int = 25) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from k-means++ seeds (Arthur and Vassilvitskii 2007), until nothing changes.

    A centre that nobody is nearest to moves to the row that is farthest from its own.

    Args:
        z: ``[N, D]``; of unit length, the clusters are those of cosine.
        clusters: ``1 <= clusters <= N``.
        seed: of the seeds.
        steps: at most so many.

    Returns:
        The cluster of each row, int64 ``[N]``, and the centres ``[clusters, D]``.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> cluster, _ = kmeans(torch.tensor([[0.0], [0.1], [5.0], [5.2]]), 2)
        >>> bool(cluster[0] == cluster[1] != cluster[2] == cluster[3])
        True
    """
    check_embeddings("z", z)
    if not 1 <= clusters <= len(z):
        raise ValueError(f"clusters={clusters}: must be at least 1 and at most the number of rows, {len(z)}.")
    z = z if z.dtype == torch.float64 else z.float()
    centre = _seeds(z, clusters, torch.Generator().manual_seed(seed))
    cluster, gap = _assigned(z, centre)
    for _ in range(steps):
        count = torch.bincount(cluster, minlength=clusters)
        centre = torch.zeros_like(centre).index_add_(0, cluster, z) / count.clamp(min=1)[:, None]
        empty = (count == 0).nonzero()[:, 0]
        if len(empty):
            centre[empty] = z[gap.topk(len(empty)).indices]
        before = cluster
        cluster, gap = _assigned(z, centre)
        if torch.equal(cluster, before):
            break
    return cluster, centre


def _assigned(z: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest centre of each row, and the squared distance to it."""
    half = centre.square().sum(1) / 2
    found = [(part @ centre.T - half).max(1) for part in z.split(max(1, CHUNK // len(centre)))]
    best = torch.cat([f.values for f in found])
    return torch.cat([f.indices for f in found]), (z.square().sum(1) - 2 * best).clamp(min=0)


def _seeds(z: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Each next one with probability proportional to the squared distance from those there are."""
    chosen = [int(torch.randint(len(z), (1,), generator=generator))]
    norm = z.square().sum(1)
    gap = _gap(z, norm, chosen[0])
    for u in torch.rand(clusters - 1, generator=generator, dtype=torch.float64).tolist():
        total = gap.double().cumsum(0)
        row = int(torch.searchsorted(total, u * float(total[-1]), right=True).clamp(max=len(z) - 1))
        chosen.append(row)
        gap = torch.minimum(gap, _gap(z, norm, row))
    return z[chosen].clone()


def _gap(z: Tensor, norm: Tensor, row: int) -> Tensor:
    gap = (norm + norm[row] - 2 * (z @ z[row])).clamp(min=0)
    gap[row] = 0.0  # not to rounding: a row must not be drawn twice
    return gap
