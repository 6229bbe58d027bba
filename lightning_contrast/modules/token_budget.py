"""Chunks of texts by a budget of tokens: few long texts or many short ones, so that every chunk costs about as much."""

from typing import Any

import torch
from torch import Tensor


def token_chunks(inputs: Any, tokens: int) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Rows of similar length in chunks whose rows x longest text stay within a budget; a longer text is a chunk alone.

    Padding behind the longest text of a chunk is cut off.

    Args:
        inputs: ``attention_mask`` ``[N, L]``, padded behind, and other tensors ``[N, ...]``; those ``[N, L]`` are cut with it.
        tokens: the budget, >= 1.

    Returns:
        The chunks, and where each row went: row ``i`` of the inputs is row ``place[i]`` of the joined chunks.

    Raises:
        ValueError: for inputs without ``attention_mask``: nothing says how long their rows are.

    Example:
        >>> mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
        >>> chunks, place = token_chunks({"attention_mask": mask}, 4)
        >>> [list(chunk["attention_mask"].shape) for chunk in chunks], place.tolist()
        ([[1, 4], [2, 2]], [2, 0, 1])
    """
    if not isinstance(inputs, dict) or not isinstance(inputs.get("attention_mask"), Tensor):
        raise ValueError(
            f"chunk_tokens={tokens} counts tokens by an attention_mask [N, L], and the inputs are "
            f"{sorted(inputs) if isinstance(inputs, dict) else type(inputs).__name__}: use chunk_size, which counts rows."
        )
    mask = inputs["attention_mask"]
    width = mask.shape[1]
    last = (mask != 0) * torch.arange(1, width + 1, device=mask.device)
    length = last.amax(1).clamp(min=1)
    order = length.argsort(descending=True, stable=True)
    sizes: list[tuple[int, int]] = []
    ordered = length[order].tolist()
    while sum(rows for rows, _ in sizes) < len(ordered):
        start = sum(rows for rows, _ in sizes)
        longest = ordered[start]
        sizes.append((min(max(1, tokens // longest), len(ordered) - start), longest))
    chunks = []
    for (_, longest), rows in zip(sizes, order.split([rows for rows, _ in sizes]), strict=True):
        chunks.append({name: _cut(value[rows], width, longest) for name, value in inputs.items()})
    return chunks, order.argsort()


def _cut(value: Tensor, width: int, longest: int) -> Tensor:
    return value[:, :longest] if value.ndim >= 2 and value.shape[1] == width else value
