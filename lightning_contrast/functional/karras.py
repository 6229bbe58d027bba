"""Noise levels of diffusion models."""

import torch
from torch import Tensor


def karras_sigmas(steps: int, low: float = 0.002, high: float = 80.0, rho: float = 7.0) -> Tensor:
    """``(low^(1/rho) + i / (steps - 1) (high^(1/rho) - low^(1/rho)))^rho``, rising (Karras et al. 2022, eq. 5).

    Args:
        steps: how many, >= 2.
        low: the first, > 0.
        high: the last, > low.
        rho: how much denser small levels are, > 0.

    Returns:
        float32 ``[steps]``.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> [round(float(s), 4) for s in karras_sigmas(3, low=1.0, high=128.0)]
        [1.0, 17.0859, 128.0]
    """
    if steps < 2 or not 0 < low < high or not rho > 0:
        raise ValueError(f"steps={steps}, low={low}, high={high}, rho={rho}: need steps >= 2, 0 < low < high, rho > 0.")
    share = torch.linspace(0, 1, steps, dtype=torch.float64)
    return (low ** (1 / rho) + share * (high ** (1 / rho) - low ** (1 / rho))).pow(rho).float()
