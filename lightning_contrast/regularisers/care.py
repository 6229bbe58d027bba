"""One augmentation of a group acts as a rotation of the sphere."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.objectives.samples import all_views
from lightning_contrast.regularisers.regulariser import Regulariser


class CARE(Regulariser):
    """``2 mean_i sum_{j != i} (z_i . z_j - z'_i . z'_j)^2`` within a chunk, mean over chunks.

    All samples of a chunk share the parameters of augmentation ``a`` in the first view and ``a'`` in the second; equal
    Gram matrices mean that the augmentation moves the chunk by an orthogonal map (Gupta et al., "Structuring
    Representation Geometry with Rotationally Equivariant Contrastive Learning", ICLR 2024, eq. 3). Zero when ``Z' = Z R``
    with orthogonal ``R``. The data must give two views with parameters shared over a chunk
    (``ImageAugmentation(shared_from=2, chunk=16)``), and ``chunk`` here is as there; or the payload ``chunk`` says whose
    parameters were shared. Without both the rank's batch is one chunk. Chunks are not shared by ranks.

    Sure: high.

    Args:
        weight: 0.01 to 0.1 in the paper.
        views: numbers of the two views; ``None``: there are just two.
        chunk: consecutive samples of a batch that share parameters, >= 2; ``None``: see above.

    Raises:
        ValueError: for values out of range, or other numbers of views.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> z = torch.stack([torch.eye(2), torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]])])
        >>> round(CARE(weight=1.0)(Contrast.from_views(z)).item(), 4)
        0.5
    """

    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weight: float = 0.03, views: tuple[int, int] | None = None, chunk: int | None = None) -> None:
        super().__init__(weight)
        if views is not None and (len(views) != 2 or views[0] == views[1] or min(views) < 0):
            raise ValueError(f"views={views}: two different numbers of views, such as (2, 3), or None.")
        if chunk is not None and chunk < 2:
            raise ValueError(f"chunk={chunk}: at least 2 samples share an augmentation.")
        self.views, self.chunk = views, chunk

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, ``>= 0``."""
        block = all_views(contrast)
        found = block.get("view").unique().tolist()
        views = found if self.views is None else list(self.views)
        if len(views) != 2 or not set(views) <= set(found):
            raise ValueError(
                f"CARE(views={self.views}) compares two views with shared augmentations, but there are the views {found}: "
                "name two of them."
            )
        one, two = (_view(block, v) for v in views)
        if not torch.equal(one.get("position"), two.get("position")):
            raise ValueError("CARE: every sample needs both views.")
        if self.chunk is not None:
            chunk = torch.arange(one.rows, device=one.first.device) // self.chunk  # rows stand by position
        else:
            chunk = one.payload.get("chunk", torch.zeros_like(one.get("position")))
        _, chunk, sizes = torch.unique(chunk, return_inverse=True, return_counts=True)
        gap = _gram(one.first) - _gram(two.first)
        pairs = (chunk[:, None] == chunk) & ~torch.eye(len(chunk), dtype=torch.bool, device=chunk.device)
        rows = 2 * gap.square().masked_fill(~pairs, 0.0).sum(1)
        here = (rows / sizes[chunk]).sum()
        if contrast.exchange == "none":
            return here / len(sizes)
        chunks = all_sum(torch.tensor(float(len(sizes)), device=here.device))
        return here * (world_size() / chunks.to(here.dtype))


def _view(block: Candidates, view: int) -> Candidates:
    """The rows of one view, by position."""
    rows = (block.get("view") == view).nonzero()[:, 0]
    order = rows[block.get("position")[rows].argsort()]
    return block.map(lambda t: t[order])


def _gram(z: Tensor) -> Tensor:
    unit = F.normalize(z if z.element_size() >= 4 else z.float(), dim=-1)
    return unit @ unit.mT
