"""The space of trained models: distances between their predictions, and a picture of it."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.knn import check_labels
from lightning_contrast.functional.nearest import check_embeddings


def bhattacharyya_sums(tables: Tensor) -> Tensor:
    r"""Sum over samples of :math:`-\log \sum_c \sqrt{P_u(c|x) P_v(c|x)}` for every two models; shards add up.

    Args:
        tables: [M, N, C], predictions of M models for the same samples: rows in [0, 1] that sum to 1.

    Returns:
        float64 [M, M], symmetric, diagonal 0; inf where two models share no class on a sample.

    Raises:
        ValueError: for tables that are no probabilities.

    """
    if tables.dim() != 3:
        raise ValueError(f"tables must be [models, samples, classes]; got {tuple(tables.shape)}.")
    p = tables.detach().double()
    if p.numel() and (bool((p < 0).any()) or bool(((p.sum(2) - 1).abs() > 1e-3).any())):
        raise ValueError("tables must hold probabilities: rows >= 0 that sum to 1; use softmax on logits.")
    root = (p / p.sum(2, keepdim=True)).sqrt()
    total = p.new_zeros(len(p), len(p))
    for u in range(len(p)):
        total[u] = -(root[u] * root).sum(2).clamp(max=1).log().sum(1)
    return total.fill_diagonal_(0)


def bhattacharyya(tables: Tensor) -> Tensor:
    """Mean Bhattacharyya distance per sample of every two models, [M, M].

    Ramesh et al., "A picture of the space of typical learnable tasks" (ICML 2023), equation 2.

    Args:
        tables: [M, N, C], predictions of M models for the same N >= 1 samples.

    Example:
        >>> found = bhattacharyya(torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]))
        >>> round(float(found[0, 1]), 4)
        0.1116

    """
    return bhattacharyya_sums(tables) / tables.shape[1]


class Picture(NamedTuple):
    """Points whose Minkowski distances are the given ones."""

    points: Tensor  # [M, K]
    values: Tensor  # [K] eigenvalues, largest magnitude first; a negative one is an axis that shortens distances
    stress: Tensor  # [K] share of the sum of magnitudes that the first axes explain, rising to 1


def inpca(distance: Tensor, axes: int | None = None) -> Picture:
    r"""Embed models by :math:`W = -\frac12 J D J`, :math:`J = I - 11^\top / M`, eigenvectors scaled by :math:`\sqrt{|\lambda|}`.

    ICML 2023, section 2.2 (InPCA). Of squared Euclidean distances it is ordinary PCA.

    Args:
        distance: [M, M], symmetric.
        axes: K; by default all M.

    Example:
        >>> line = torch.tensor([0.0, 1.0, 3.0])
        >>> found = inpca((line[:, None] - line).square())
        >>> [round(x, 4) for x in found.stress.tolist()]
        [1.0, 1.0, 1.0]

    """
    if distance.dim() != 2 or distance.shape[0] != distance.shape[1]:
        raise ValueError(f"distance must be [M, M]; got {tuple(distance.shape)}.")
    d = distance.double()
    if not bool(torch.isfinite(d).all()):
        raise ValueError("distance holds non-finite numbers: two models share no class on some sample.")
    w = -0.5 * (d - d.mean(0) - d.mean(1, keepdim=True) + d.mean())
    values, vectors = torch.linalg.eigh((w + w.T) / 2)
    order = values.abs().argsort(descending=True)[: axes or len(d)]
    stress = values[order].abs().cumsum(0) / values.abs().sum().clamp_min(1e-300)
    return Picture(vectors[:, order] * values[order].abs().sqrt(), values[order], stress)


def imprinted_predictions(z: Tensor, labels: Tensor, queries: Tensor, classes: int, temperature: float = 0.1) -> Tensor:
    """Predictions of a representation through an imprinted head: class means of unit features, softmax of cosines.

    Args:
        z: [N, D], of every class at least one row.
        labels: integers [N].
        queries: [T, D].
        classes: number of classes.
        temperature: above 0.

    Returns:
        [T, classes], rows sum to 1.

    Raises:
        ValueError: wrong shapes, a class without a row.

    """
    check_embeddings("z", z)
    check_embeddings("queries", queries, width=z.shape[1])
    check_labels("labels", labels, len(z))
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0; got {temperature}.")
    count = torch.bincount(labels, minlength=classes)
    if len(count) > classes or bool((count == 0).any()):
        raise ValueError(f"classes={classes}: every class below it needs a row, and no label may reach it.")
    head = z.new_zeros(classes, z.shape[1]).index_add_(0, labels, F.normalize(z, dim=1))
    return (F.normalize(queries, dim=1) @ F.normalize(head, dim=1).T / temperature).softmax(1)


def progress(table: Tensor, labels: Tensor, steps: int = 200) -> Tensor:
    r"""Where on the geodesic from ignorance (uniform) to the truth a model is nearest to: lambda in [0, 1].

    On the sphere of square roots the geodesic is :math:`\sqrt{P_\lambda} = \bigl(\sin((1-\lambda)\theta) \sqrt{P_0} +
    \sin(\lambda\theta) \sqrt{P_*}\bigr) / \sin\theta`. ICML 2023, section 2.3.

    Args:
        table: [N, C], predictions.
        labels: integers [N], the truth.
        steps: of the grid, at least 1.

    Returns:
        0-d float64: 0 for uniform predictions, 1 for the truth.

    """
    c = table.shape[1]
    truth = F.one_hot(labels, c).double()
    root = table.double().sqrt()
    theta = math.acos(c**-0.5)
    found = []
    for i in range(steps + 1):
        a, b = math.sin((1 - i / steps) * theta), math.sin(i / steps * theta)
        point = (a * c**-0.5 + b * truth) / math.sin(theta)
        found.append(-(root * point).sum(1).log().mean())
    return torch.stack(found).argmin().double() / steps
