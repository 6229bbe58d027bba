"""Pairs moved apart along the line through both, and draws from the symmetric Beta distribution for it."""

from functools import lru_cache

import torch
from torch import Tensor


def extrapolated(q: Tensor, k: Tensor, share: Tensor | float) -> tuple[Tensor, Tensor]:
    """``share q + (1 - share) k`` and ``share k + (1 - share) q``: apart for a share > 1, towards each other for < 1.

    The sum of the two stays. For unit vectors of similarity ``s`` and one share ``l`` the new inner product is
    ``s + 2 l (1 - l) (1 - s)``, at most ``s`` for ``l >= 1`` (Zhu et al. 2021, eq. 4 to 6).

    Args:
        q: ``[..., D]``.
        k: the same shape.
        share: 0-d, or what broadcasts to the shape.

    Example:
        >>> a, b = extrapolated(torch.tensor([1.0, 0.0]), torch.tensor([0.6, 0.8]), 1.5)
        >>> round(float(a @ b), 6)
        0.0
    """
    return share * q + (1 - share) * k, share * k + (1 - share) * q


def beta_quantile(u: Tensor, alpha: float) -> Tensor:
    """The value below which a share ``u`` of Beta(alpha, alpha) lies: uniform numbers become draws of it.

    By a table of 4097 points (error below 1e-3), so that draws may be keyed by a counter instead of a generator's state.

    Args:
        u: in [0, 1], any shape.
        alpha: > 0; 1 is uniform.

    Raises:
        ValueError: for alpha <= 0.
    """
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha={alpha}: Beta(alpha, alpha) needs a finite number > 0.")
    table = _table(alpha).to(u.device)
    place = (u.double() * (len(table) - 1)).clamp(0, len(table) - 1)
    low = place.long().clamp(max=len(table) - 2)
    return torch.lerp(table[low], table[low + 1], place - low).to(u.dtype)


@lru_cache(maxsize=8)
def _table(alpha: float, points: int = 4097) -> Tensor:
    # x = sin^2(t / 2) spreads the points towards both ends, where a density with alpha < 1 has its poles.
    t = (torch.arange(4 * points, dtype=torch.float64) + 0.5) / (4 * points) * torch.pi
    edge = torch.linspace(0, torch.pi, 4 * points + 1, dtype=torch.float64)
    mass = torch.cat([t.new_zeros(1), t.sin().pow(2 * alpha - 1).cumsum(0)])
    mass, x = mass / mass[-1], (edge / 2).sin().square()
    wanted = torch.linspace(0, 1, points, dtype=torch.float64)
    right = torch.searchsorted(mass, wanted).clamp(1, len(mass) - 1)
    gap = (mass[right] - mass[right - 1]).clamp(min=1e-300)
    return torch.lerp(x[right - 1], x[right], ((wanted - mass[right - 1]) / gap).clamp(0, 1))
