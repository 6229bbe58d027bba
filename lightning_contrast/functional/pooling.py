"""One vector a text from the vectors of its tokens."""

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["mean", "cls", "last"]


def pooled(states: Tensor, mask: Tensor, how: Pooling = "mean") -> Tensor:
    """The mean of the real tokens, the first of them, or the last, wherever the padding is.

    Args:
        states: ``[N, L, D]``.
        mask: ``[N, L]``, true or 1 where there is a token; every text has at least one.
        how: ``mean``; ``cls``, the first token; ``last``, for decoders, whose last token has seen all others.

    Returns:
        ``[N, D]``; zeros for a text without tokens.

    Raises:
        ValueError: for another `how`, or a mask of another shape.

    Example:
        >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[1, 1, 0]])
        >>> [pooled(states, mask, how).item() for how in ("mean", "cls", "last")]
        [2.0, 1.0, 3.0]
    """
    if mask.shape != states.shape[:2]:
        raise ValueError(f"mask must be {list(states.shape[:2])}, one number a token, got {list(mask.shape)}.")
    there = mask.to(states.dtype)
    if how == "mean":
        return (states * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
    if how not in ("cls", "last"):
        raise ValueError(f"pooling={how!r}: must be mean, cls or last.")
    places = torch.arange(mask.shape[1], device=mask.device)
    # the first is the largest of the negated places; padding never wins
    order = -places if how == "cls" else places
    chosen = torch.where(mask.bool(), order, -mask.shape[1]).argmax(1)
    row = states.gather(1, chosen[:, None, None].expand(-1, 1, states.shape[2]))[:, 0]
    return row * there.amax(1, keepdim=True)
