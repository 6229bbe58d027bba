"""Do two networks learn the same units? Correlations, one-to-one matching, sparse prediction."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_contrast.functional.nearest import check_embeddings


class UnitSums(NamedTuple):
    """All that the comparison needs of two networks' activations, float64; shards add up."""

    samples: Tensor  # 0-d
    total: Tensor  # [U + V]
    gram: Tensor  # [U + V, U + V]


class UnitMatches(NamedTuple):
    """Each unit of the first network with one of the second."""

    semi: Tensor  # [U] largest correlation of each unit; one partner may serve many
    matched: Tensor  # [min(U, V)] correlations of the one-to-one matching with the largest sum, falling
    partner: Tensor  # int64 [U], the second network's unit; -1 without one


def unit_sums(f: Tensor, g: Tensor) -> UnitSums:
    """Sum over samples: ``f`` [N, U] and ``g`` [N, V], activations of the same samples.

    Raises:
        ValueError: row counts that differ, or no matrices.

    """
    check_embeddings("f", f)
    check_embeddings("g", g)
    if len(f) != len(g):
        raise ValueError(f"f and g are activations of the same samples, but have {len(f)} and {len(g)} rows.")
    x = torch.cat([f.detach(), g.detach()], 1).double()
    return UnitSums(x.new_tensor(len(x)), x.sum(0), x.T @ x)


def unit_correlation(sums: UnitSums) -> Tensor:
    """Correlations of all units of both networks, [U + V, U + V]; 0 with a unit that is constant."""
    mean = sums.total / sums.samples
    covariance = sums.gram / sums.samples - torch.outer(mean, mean)
    variance = covariance.diagonal()
    silent = variance <= 1e-12 * (sums.gram.diagonal() / sums.samples)
    scale = variance.clamp_min(0).sqrt().masked_fill(silent, torch.inf)
    return (covariance / torch.outer(scale, scale)).clamp(-1, 1)


def match_units(correlation: Tensor) -> UnitMatches:
    """Match units by correlation: the best partner of each, and the best one-to-one matching (Hungarian).

    Li et al., "Convergent Learning: Do different neural networks learn the same representations?" (ICLR 2016),
    section 3. The mean of the one-to-one matching is at most that of the best partners where U <= V.

    Args:
        correlation: [U, V], in [-1, 1].

    Example:
        >>> match_units(torch.tensor([[0.2, 0.9], [0.8, 0.7]])).partner
        tensor([1, 0])

    """
    from scipy.optimize import linear_sum_assignment

    row, column = (torch.from_numpy(x) for x in linear_sum_assignment(correlation.cpu().numpy(), maximize=True))
    partner = torch.full((len(correlation),), -1, dtype=torch.int64)
    partner[row] = column
    matched = correlation.cpu()[row, column].sort(descending=True).values
    return UnitMatches(correlation.amax(1), matched.to(correlation.device), partner.to(correlation.device))


def sparse_prediction(correlation: Tensor, width: int, penalty: float = 0.1, steps: int = 500) -> Tensor:
    r"""Predict each unit of the second network from few of the first: the LASSO on standardised activations.

    Minimises :math:`\frac12 w^\top G w - c^\top w + \lambda \|w\|_1` for each unit by accelerated proximal gradient
    steps (FISTA; Beck and Teboulle 2009), from correlations alone. ICLR 2016, section 4.

    Args:
        correlation: [U + V, U + V] of :func:`unit_correlation`.
        width: U, the first network's units.
        penalty: lambda, at least 0; from 1 on all weights are 0.
        steps: iterations.

    Returns:
        Weights [U, V].

    Example:
        >>> one = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.0], [0.6, 0.0, 1.0]])
        >>> sparse_prediction(one, width=2).flatten()
        tensor([0.5000, 0.0000])

    """
    if penalty < 0:
        raise ValueError(f"penalty must be at least 0; got {penalty}.")
    gram, cross = correlation[:width, :width], correlation[:width, width:]
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(1e-12)
    weight = ahead = torch.zeros_like(cross)
    t = 1.0
    for _ in range(steps):
        moved = ahead - step * (gram @ ahead - cross)
        new = moved.sign() * (moved.abs() - step * penalty).clamp_min(0)
        grown = (1 + (1 + 4 * t * t) ** 0.5) / 2
        ahead, weight, t = new + (t - 1) / grown * (new - weight), new, grown
    return weight
