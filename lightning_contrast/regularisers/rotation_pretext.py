"""Tell by how much a view was turned."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.objectives.samples import all_views
from lightning_contrast.regularisers.regulariser import Regulariser


class RotationPretext(Regulariser):
    """Cross-entropy of a trained classifier of quarter turns (Gidaris et al. 2018; ScatSimCLR, Kinakh et al. 2021, eq. 3).

    Views from number ``first`` on are turned by ``i mod 4`` quarters, ``i`` being the row of the batch
    (``RotatedViews(first=2)`` with ``n_views=3``), unless a payload ``turn`` says by how many; the classifier reads their embeddings.

    Sure: medium.

    Args:
        weight: of the term, >= 0.
        first: number of the first turned view.
        hidden: width of the classifier's hidden layer, >= 1.

    Raises:
        ValueError: for numbers out of range, or a batch without turned views.

    Example:
        >>> import torch
        >>> term = RotationPretext(weight=1.0, first=0)(Contrast.from_views(torch.randn(1, 8, 16)))
        >>> bool(term > 0)
        True
    """

    def __init__(self, weight: float = 0.5, first: int = 2, hidden: int = 128) -> None:
        super().__init__(weight)
        if first < 0 or hidden < 1:
            raise ValueError(f"first={first}, hidden={hidden}: must be at least 0 and 1.")
        self.first = first
        self.layers = nn.Sequential(nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, 4))

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, ``>= 0``."""
        block = all_views(contrast)
        rows = (block.get("view") >= self.first).nonzero()[:, 0]
        if not len(rows) and block.rows:
            raise ValueError(f"RotationPretext(first={self.first}): no view has that number; raise data.n_views.")
        z = block.first[rows]
        turns = block.payload.get("turn", block.get("position"))[rows] % 4
        logits = self.layers(z.to(next(self.layers.parameters()).dtype))
        here = F.cross_entropy(logits, turns, reduction="sum")
        if contrast.exchange == "none":
            return here / max(1, len(rows))
        total = all_sum(torch.tensor(float(len(rows)), device=here.device)).clamp(min=1)
        return here * (world_size() / total.to(here.dtype))
