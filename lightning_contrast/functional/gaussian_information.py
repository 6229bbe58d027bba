"""Mutual information of two variables that are jointly normal, by their correlation."""

import torch
from torch import Tensor


def correlation(x: Tensor, y: Tensor, kept: Tensor) -> Tensor:
    """Pearson's ``r`` over the entries that are kept; 0 where one of the two does not vary. ``[..., n]`` to ``[...]``.

    Args:
        x: ``[..., n]``; what is not kept may be anything finite.
        y: ``[..., n]``.
        kept: bool ``[..., n]``.

    Example:
        >>> x, y = torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([1.0, 3.0, 2.0, 0.0])
        >>> round(correlation(x, y, torch.tensor([True, True, True, False])).item(), 5)
        0.5
    """
    weight = kept.to(x.dtype)
    count = weight.sum(-1, keepdim=True).clamp(min=1)
    x, y = ((t - (t * weight).sum(-1, keepdim=True) / count) * weight for t in (x, y))
    square = x.square().sum(-1) * y.square().sum(-1)
    varies = square > torch.finfo(x.dtype).tiny
    return torch.where(varies, (x * y).sum(-1) / torch.where(varies, square, 1.0).sqrt(), 0.0)


def gaussian_information(r: Tensor, eps: float = 1e-5) -> Tensor:
    """``-1/2 log(1 - r^2)``, in nats; ``1 - r^2`` is ``eps`` at least, since it diverges for ``r`` of 1 and -1.

    Example:
        >>> gaussian_information(torch.tensor([0.0, 0.5, 0.8])).abs()
        tensor([0.0000, 0.1438, 0.5108])
    """
    return -(1 - r.square()).clamp(min=eps).log() / 2
