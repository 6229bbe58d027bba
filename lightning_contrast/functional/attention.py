"""How far, and where to, a vision transformer's heads look."""

import torch
from torch import Tensor


def patch_positions(grid: tuple[int, int]) -> Tensor:
    """Row and column of every patch, row by row: float64 [H * W, 2]."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return torch.stack([rows.flatten(), columns.flatten()], 1).double()


def patch_attention(attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """Attention among patches alone: leading tokens (class, registers) are left out, rows sum to 1 again.

    Args:
        attention: [N, heads, T, T], rows sum to 1; the last H * W tokens are patches, row by row.
        grid: H and W in patches.

    Returns:
        float64 [N, heads, H * W, H * W].

    Raises:
        ValueError: for another shape, or fewer tokens than patches.

    """
    patches = grid[0] * grid[1]
    if attention.dim() != 4 or attention.shape[2] != attention.shape[3] or attention.shape[3] < patches:
        raise ValueError(
            f"attention must be [N, heads, T, T] with T >= {patches} tokens for a grid of {grid}; got "
            f"{tuple(attention.shape)}."
        )
    among = attention[:, :, -patches:, -patches:].detach().double()
    return among / among.sum(3, keepdim=True).clamp_min(1e-300)


def attention_distance(attention: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean distance, in patches, between a patch and what it attends to, weighted by attention.

    Walmer et al., "Teaching Matters: Investigating the Role of Supervision in Vision Transformers" (CVPR 2023), section
    4, after Dosovitskiy et al. 2021.

    Args:
        attention: [N, heads, T, T].
        grid: H and W in patches.

    Returns:
        float64 [N, heads]; the mean distance of two patches for uniform attention, 0 when every patch sees itself.

    Example:
        >>> attention_distance(torch.eye(4).view(1, 1, 4, 4), (2, 2))
        tensor([[0.]], dtype=torch.float64)

    """
    place = patch_positions(grid).to(attention.device)
    return (patch_attention(attention, grid) * torch.cdist(place, place)).sum(3).mean(2)


def offset_attention(attention: Tensor, grid: tuple[int, int], offset: tuple[int, int]) -> Tensor:
    """Mean attention that a patch gives to the one at a fixed offset, over patches that have such a neighbour.

    CVPR 2023, section 4.2: heads of some supervision attend to one relative position.

    Args:
        attention: [N, heads, T, T].
        grid: H and W in patches.
        offset: rows down and columns to the right; (0, 0) is the patch itself.

    Returns:
        float64 [N, heads], in [0, 1].

    Raises:
        ValueError: for an offset that leaves the grid.

    Example:
        >>> offset_attention(torch.eye(4).view(1, 1, 4, 4), (2, 2), (0, 0))
        tensor([[1.]], dtype=torch.float64)

    """
    if abs(offset[0]) >= grid[0] or abs(offset[1]) >= grid[1]:
        raise ValueError(f"offset={offset}: must stay within the grid of {grid} patches.")
    place = patch_positions(grid)
    match = (place[:, None] + torch.tensor(offset).double() == place).all(2).to(attention.device)
    return patch_attention(attention, grid)[:, :, match].mean(2)
