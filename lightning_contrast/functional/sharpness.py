"""Copies of images, sharper or more blurred than they are."""

import torch
from torch import Tensor

from lightning_contrast.functional.resample import blur_along, blur_taps


def blurred(images: Tensor, sigma: Tensor, taps: int = 11) -> Tensor:
    """Gaussian blur, edges repeated.

    Args:
        images: ``[N, C, H, W]``.
        sigma: ``[N]`` in pixels; 0 changes nothing.
        taps: odd width of the kernel.

    Returns:
        ``[N, C, H, W]``.

    Raises:
        ValueError: for an even kernel or negative sigma.
    """
    if taps < 1 or taps % 2 == 0:
        raise ValueError(f"taps={taps}: must be odd and at least 1.")
    if bool((sigma < 0).any()):
        raise ValueError(f"sigma={float(sigma.min())}: must be >= 0.")
    weights = blur_taps(sigma, taps).to(images.dtype)
    return blur_along(blur_along(images, weights, 2), weights, 3)


def sharpened(images: Tensor, factor: Tensor, sigma: float = 1.0, taps: int = 5) -> Tensor:
    """``image + factor (image - blurred image)``, an unsharp mask, clipped to [0, 1].

    Args:
        images: ``[N, C, H, W]`` in [0, 1].
        factor: ``[N]``, >= 0; 0 changes nothing.
        sigma: of the blur, in pixels.
        taps: odd width of its kernel.

    Returns:
        ``[N, C, H, W]``.

    Example:
        >>> image = torch.zeros(1, 1, 1, 4); image[..., 2:] = 0.5
        >>> sharp = sharpened(image, torch.tensor([1.0]))
        >>> bool(sharp[..., 2] > image[..., 2])
        True
    """
    soft = blurred(images, torch.full((len(images),), sigma, device=images.device), taps)
    return (images + factor.to(images.dtype)[:, None, None, None] * (images - soft)).clamp(0, 1)
