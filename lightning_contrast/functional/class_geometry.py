"""How classes lie in the space: scatter within and between, neural collapse, spread of the class means."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.ridge import RidgeStatistics, ridge_statistics


class ClassGeometry(NamedTuple):
    """Figures of labelled embeddings, each a 0-d float64 tensor."""

    scatter_ratio: Tensor  # tr S_w / tr S_b: 0 when every class is one point
    nc1: Tensor  # tr(S_w S_b^+) / C, variability collapse
    mean_cosine: Tensor  # mean cosine of centred class means; -1 / (C - 1) for a simplex
    cosine_spread: Tensor  # standard deviation of those cosines: 0 when equiangular
    norm_spread: Tensor  # coefficient of variation of the centred means' lengths: 0 when equinorm
    closest: Tensor  # largest cosine of two class means (not centred): near 1 when classes merge
    frame_distance: Tensor  # ||G / |G| - I / |I||| of unit class means' Gram matrix G: 0 when they are orthogonal


def class_geometry_from_sums(statistics: RidgeStatistics) -> ClassGeometry:
    """Compute the figures of :func:`class_geometry` from sums, for instance sums over ranks.

    Raises:
        ValueError: fewer than two classes that occur.

    """
    seen = statistics.rows > 0
    count, total = statistics.rows[seen], statistics.total[seen]
    classes = len(count)
    if classes < 2:
        raise ValueError(f"class geometry needs at least two classes; got {classes}.")
    means = total / count[:, None]
    within = (statistics.gram - means.T @ total) / count.sum()
    centred = means - means.mean(0)
    between = centred.T @ centred / classes
    cosine = F.normalize(centred, dim=1) @ F.normalize(centred, dim=1).T
    pairs = cosine[torch.ones_like(cosine, dtype=torch.bool).triu(1)]
    raw = F.normalize(means, dim=1) @ F.normalize(means, dim=1).T
    lengths = centred.norm(dim=1)
    frame = torch.eye(classes, dtype=raw.dtype, device=raw.device) / classes**0.5
    distance = (raw / raw.norm() - frame).norm()
    inverse = torch.linalg.pinv(between, hermitian=True, rtol=1e-10)
    return ClassGeometry(
        scatter_ratio=within.trace().clamp_min(0) / between.trace(),
        nc1=(within * inverse).sum().clamp_min(0) / classes,
        mean_cosine=pairs.mean(),
        cosine_spread=pairs.std(correction=0),
        norm_spread=lengths.std(correction=0) / lengths.mean(),
        closest=raw.fill_diagonal_(-torch.inf).max(),
        frame_distance=distance,
    )


def class_geometry(z: Tensor, labels: Tensor) -> ClassGeometry:
    """Describe how labelled embeddings lie: scatter, neural collapse (NC1, NC2) and closeness of class means.

    Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of deep learning
    training" (PNAS 2020); class means weigh equally. Pass normalised embeddings where the sphere is meant.

    Args:
        z: [N, D].
        labels: integers [N], at least two classes.

    Returns:
        :class:`ClassGeometry`; all spreads and ratios are at least 0, cosines in [-1, 1].

    Raises:
        ValueError: fewer than two classes or wrong shapes.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
        >>> float(class_geometry(z, torch.tensor([0, 0, 1])).mean_cosine)
        -1.0

    """
    return class_geometry_from_sums(ridge_statistics(z, labels, int(labels.max()) + 1 if len(labels) else 0))
