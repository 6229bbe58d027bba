"""Paired differences of two models on the same items, with an interval."""

from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 4_000_000  # numbers drawn at a time


class PairedDifference(NamedTuple):
    """``b - a``."""

    mean: float
    low: float
    high: float
    over: str
    """What was drawn anew: ``items``, or ``items and seeds``."""


@torch.no_grad()
def paired_difference(
    a: Tensor, b: Tensor, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> PairedDifference:
    """The mean of ``b - a`` over the same items, and a percentile bootstrap interval.

    Each resample draws N items with replacement, the same for both, so that what is hard for both cancels. Where both have
    several seeds, these are drawn too, each model's for itself; as few of them vary too little (by (S - 1) / S), a seed's
    distance from the mean of its model is stretched by sqrt(S / (S - 1)) before. Efron and Tibshirani, "An Introduction to
    the Bootstrap" (1993), chapters 8 and 13.

    Args:
        a: figure of each seed and item, ``[S, N]`` (or ``[N]``): correct or not, a query's nDCG.
        b: of the other model, ``[T, N]`` (or ``[N]``), the same items in the same order.
        resamples: how many, >= 100.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or values out of range.

    Example:
        >>> a, b = torch.tensor([0.0, 0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])
        >>> paired_difference(a, b).mean
        0.5
    """
    a, b = (x[None].double() if x.ndim == 1 else x.double() for x in (a, b))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.numel() or not b.numel():
        raise ValueError(
            f"a and b must be [seeds, items] with the same items; got {list(a.shape)} and {list(b.shape)}."
        )
    if not bool(a.isfinite().all() and b.isfinite().all()):
        raise ValueError("a and b must be finite; leave items without a figure out of both.")
    if resamples < 100 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples}, level={level}: at least 100, and in (0, 1).")
    draw = torch.Generator().manual_seed(seed)
    with_seeds = len(a) > 1 and len(b) > 1
    sides = [_stretched(x) if with_seeds else x.mean(0, keepdim=True) for x in (a, b)]
    n, found = a.shape[1], []
    for start in range(0, resamples, size := max(1, CHUNK // n)):
        rows = min(size, resamples - start)
        items = torch.randint(n, (rows, n), generator=draw)
        counts = torch.zeros(rows, n, dtype=torch.float64).scatter_add_(
            1, items, torch.ones(rows, n, dtype=torch.float64)
        )
        means = []
        for side in sides:
            chosen = torch.randint(len(side), (rows, len(side)), generator=draw)
            means.append((counts @ side.T / n).gather(1, chosen).mean(1))
        found.append(means[1] - means[0])
    tail = (1 - level) / 2
    low, high = torch.cat(found).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return PairedDifference(float(b.mean() - a.mean()), low, high, "items and seeds" if with_seeds else "items")


def _stretched(x: Tensor) -> Tensor:
    """Seeds moved from the mean of all, so that the draws vary as the seeds do."""
    middle = x.mean(0, keepdim=True)
    total = x.mean(1, keepdim=True) - x.mean()
    return middle + (x - middle - total) + total * (len(x) / (len(x) - 1)) ** 0.5
