"""A first-in-first-out set of earlier embeddings to look neighbours up in."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast.exchange import all_sizes, gather_rows, in_turn, world_size

LOOKUP_ENTRIES = 2**24
"""Similarities held at once during a look-up."""


class SupportSet(nn.Module):
    """The last ``size`` rows of all ranks, unit length; equal on all ranks.

    Kept as extra state, which the checkpoint holds but DDP does not broadcast at every forward.

    Args:
        size: how many rows, >= 1.

    Raises:
        ValueError: for a smaller size.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size={size}: a support set holds at least 1 row.")
        self.size = size
        self.vectors = torch.empty(0, 0)
        self.pointer = 0

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The most similar row (cosine) of each row of ``z: [n, D]``; ``z`` itself, unit length, while the set is empty."""
        unit = F.normalize(z.float(), dim=-1)
        if not len(self.vectors):
            return unit.to(z.dtype)
        known = self.vectors.to(z.device)
        if known.shape[1] != z.shape[1]:
            raise ValueError(f"The support set holds rows of width {known.shape[1]}, got {z.shape[1]}.")
        step = max(1, LOOKUP_ENTRIES // len(known))
        return torch.cat([known[(part @ known.mT).argmax(1)] for part in unit.split(step)]).to(z.dtype)

    @torch.no_grad()
    def push(self, z: Tensor, across_ranks: bool = True) -> None:
        """Enqueue the rows of all ranks; the oldest give way. Any number of rows fits, the last ``size`` stay."""
        unit = F.normalize(z.detach().float(), dim=-1)
        rows = unit
        if across_ranks and world_size() > 1:
            sizes = [n for (n,) in all_sizes(len(unit), device=unit.device)]
            rows = gather_rows(unit, sizes)[in_turn(sizes)]  # as one process has them: the same ones give way
        rows = rows[-self.size :]
        old = self.vectors.to(rows.device)
        if not len(old):
            old = rows.new_empty(0, rows.shape[1])
        free = self.size - len(old)
        old = torch.cat([old, rows[:free]])
        late = rows[free:] if free > 0 else rows
        where = (self.pointer + torch.arange(len(late), device=rows.device)) % self.size
        self.vectors = old.index_copy(0, where, late) if len(late) else old
        self.pointer = (self.pointer + len(late)) % self.size

    def get_extra_state(self) -> dict[str, Any]:
        """Rows and the place of the oldest."""
        return {"vectors": self.vectors.cpu(), "pointer": self.pointer}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Back to what :meth:`get_extra_state` gave; a set that has become smaller keeps the newest rows."""
        vectors, pointer = state["vectors"], int(state["pointer"])
        if pointer or len(vectors) > self.size:
            vectors, pointer = vectors.roll(-pointer, 0)[-self.size :], 0
        self.vectors, self.pointer = vectors.clone(), pointer
