"""Attention biases that fall with the distance of patches."""

import torch
from torch import Tensor

from lightning_contrast.functional.attention import patch_positions


def alibi_2d(grid: tuple[int, int], heads: int, other: tuple[int, int] | None = None) -> Tensor:
    r"""2D-ALiBi: ``-slope_h * distance`` between every two patches, to be added to attention logits.

    Slopes are those of ALiBi, :math:`2^{-8 h / H}`, h = 1 .. H. With ``other`` the bias of cross-attention (X-ALiBi)
    between two grids that cover the same area. Fuller et al., "CROMA" (NeurIPS 2023), after Press et al. 2022.

    Args:
        grid: rows and columns of patches, of the queries.
        heads: H, at least 1.
        other: rows and columns of the keys' patches; ``None`` is the same grid.

    Returns:
        float32 [heads, H W, H' W'], at most 0; 0 at distance 0, symmetric for one grid.

    Raises:
        ValueError: for no heads or patches.

    Example:
        >>> alibi_2d((1, 2), heads=1)
        tensor([[[-0.0000, -0.0039],
                 [-0.0039, -0.0000]]])

    """
    other = grid if other is None else other
    if heads < 1 or min(*grid, *other) < 1:
        raise ValueError(f"heads={heads}, grid={grid}, other={other}: all must be at least 1.")
    scale = torch.tensor([grid[0] / other[0], grid[1] / other[1]], dtype=torch.float64)
    distance = torch.cdist(patch_positions(grid) + 0.5, (patch_positions(other) + 0.5) * scale)
    slopes = 2.0 ** (-8 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)
    return -(slopes[:, None, None] * distance).float()
