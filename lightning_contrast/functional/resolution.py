"""Pictures of lower and of higher resolution."""

from torch import Tensor
from torch.nn import functional as F


def lowered(images: Tensor, factor: int) -> Tensor:
    """Means over ``factor x factor`` pixels.

    Args:
        images: ``[N, C, H, W]``.
        factor: >= 1, a divisor of ``H`` and ``W``.

    Returns:
        ``[N, C, H / factor, W / factor]``.

    Raises:
        ValueError: for a side that the factor does not divide.

    Example:
        >>> import torch
        >>> lowered(torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]]), 2).item()
        2.0
    """
    if factor < 1 or images.shape[-1] % factor or images.shape[-2] % factor:
        raise ValueError(f"factor={factor}: must divide the pictures' sides, {list(images.shape[-2:])}.")
    return F.avg_pool2d(images, factor)


def raised(images: Tensor, factor: int) -> Tensor:
    """``[N, C, H, W]`` to ``[N, C, factor H, factor W]``, bilinear."""
    return F.interpolate(images, scale_factor=float(factor), mode="bilinear")
