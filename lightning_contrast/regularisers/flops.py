"""Few entries that are not 0, evenly spread over the columns (SPLADE)."""

from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import all_sum, gather_rows
from lightning_contrast.regularisers.regulariser import Regulariser


class FLOPS(Regulariser):
    """``sum_j (mean_i |u_ij|)^2``: a smooth form of the multiplications that one inner product of two sparse rows takes.

    Paria et al., "Minimizing FLOPs to Learn Efficient Sparse Representations" (ICLR 2020, eq. 4); SPLADE's term, with one
    weight for queries and one for documents: two of these. The mean is over the rows of all processes.

    Args:
        weight: >= 0.
        side: ``anchors`` (queries), or ``candidates``: the first block, their partners.

    Raises:
        ValueError: for another side, or a negative weight.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> FLOPS(weight=1.0)(Contrast.from_views(torch.tensor([[[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]]]))).item()
        5.0
    """

    def __init__(self, weight: float = 1e-3, side: Literal["anchors", "candidates"] = "anchors") -> None:
        super().__init__(weight)
        if side not in ("anchors", "candidates"):
            raise ValueError(f"side={side!r}: use 'anchors' or 'candidates'.")
        self.side = side

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, >= 0."""
        u = (contrast.anchors if self.side == "anchors" else contrast.candidates[0]).first.flatten(0, -2)
        u = u if u.element_size() >= 4 else u.float()
        total, rows = u.abs().sum(0, keepdim=True), torch.tensor(float(len(u)), device=u.device)
        if contrast.exchange != "none":
            total, rows = gather_rows(total).sum(0), all_sum(rows)
        return (total / rows.clamp(min=1)).square().sum()
