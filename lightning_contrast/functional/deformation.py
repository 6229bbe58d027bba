"""Pictures and feature maps bent by a flow, and how rough and how good the flow is."""

import torch
from torch import Tensor
from torch.nn import functional as F


def warped(x: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` read at ``place + flow(place)``, bilinear, and where that lies inside.

    Args:
        x: ``[N, C, H, W]``.
        flow: in pixels, down and right, ``[N, 2, H, W]``.

    Returns:
        ``[N, C, H, W]``, zero beyond the edge, and bool ``[N, 1, H, W]``.

    Raises:
        ValueError: if the two do not fit.

    Example:
        >>> x = torch.arange(4.0).reshape(1, 1, 1, 4)
        >>> flow = torch.stack([torch.zeros(1, 1, 4), torch.ones(1, 1, 4)], 1)
        >>> warped(x, flow)[0].flatten().tolist()
        [1.0, 2.0, 3.0, 0.0]
    """
    n, _, h, w = x.shape
    if flow.shape != (n, 2, h, w):
        raise ValueError(f"flow has shape {list(flow.shape)}, needed is {[n, 2, h, w]}.")
    rows = torch.arange(h, device=x.device, dtype=flow.dtype)[:, None] + flow[:, 0]
    columns = torch.arange(w, device=x.device, dtype=flow.dtype) + flow[:, 1]
    inside = (rows >= 0) & (rows <= h - 1) & (columns >= 0) & (columns <= w - 1)
    grid = torch.stack([2 * columns / max(1, w - 1) - 1, 2 * rows / max(1, h - 1) - 1], dim=-1)
    if h == 1:
        grid = torch.stack([grid[..., 0], flow[:, 0]], dim=-1)
    if w == 1:
        grid = torch.stack([flow[:, 1], grid[..., 1]], dim=-1)
    return F.grid_sample(x, grid.to(x.dtype), align_corners=True), inside[:, None]


def roughness(flow: Tensor) -> Tensor:
    """Half the sum, over both directions, of the mean squared differences of neighbours; 0 for a constant flow. ``[N]``.

    Args:
        flow: ``[N, 2, H, W]``, H and W at least 2.
    """
    down, right = flow.diff(dim=2).square().flatten(1).mean(1), flow.diff(dim=3).square().flatten(1).mean(1)
    return (down + right) / 2


def local_correlation(a: Tensor, b: Tensor, mask: Tensor, window: int = 9, eps: float = 1e-5) -> Tensor:
    """Mean over the mask of the squared correlation of two pictures in a window around each place, in [0, 1]. ``[N]``.

    Args:
        a: ``[N, C, H, W]``.
        b: the same.
        mask: where they are compared, ``[N, 1, H, W]``; an empty one gives 1, nothing to improve.
        window: side in pixels, odd.
        eps: added to the product of the variances, for flat windows.

    Raises:
        ValueError: for an even window.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window={window}: an odd number of pixels, at least 1.")

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, window, stride=1, padding=window // 2, count_include_pad=False)

    cross = mean(a * b) - mean(a) * mean(b)
    spread = (mean(a * a) - mean(a).square()).clamp(min=0) * (mean(b * b) - mean(b).square()).clamp(min=0)
    value = (cross.square() + eps) / (spread + eps)  # flat windows agree
    return masked_mean(value.mean(1, keepdim=True), mask, 1.0)


def masked_mean(x: Tensor, mask: Tensor, empty: float) -> Tensor:
    """Mean of ``x [N, 1, H, W]`` over the mask, ``empty`` where there is none. ``[N]``."""
    count = mask.flatten(1).sum(1)
    total = (x * mask).flatten(1).sum(1)
    return torch.where(count > 0, total / count.clamp(min=1), torch.full_like(total, empty))
