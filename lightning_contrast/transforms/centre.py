"""Embeddings without their mean."""

from torch import Tensor

from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.transforms.transform import Transform


class Centre(Transform):
    """``z - mean z``, the mean over all views and samples of the batch, with its gradient.

    Anchors and keys of two sides have a mean each, which also closes the gap between two modalities.

    Args:
        across_ranks: the mean is over the batches of all processes; ``False`` where ``exchange="none"``.

    Example:
        >>> import torch
        >>> Centre()(torch.tensor([[[1.0, 0.0], [3.0, 2.0]]]))
        tensor([[[-1., -1.],
                 [ 1.,  1.]]])
    """

    def __init__(self, across_ranks: bool = True) -> None:
        super().__init__()
        self.across_ranks = across_ranks

    def forward(self, z: Tensor) -> Tensor:
        """``[V, N, D]``, float32 or wider."""
        z = z if z.element_size() >= 4 else z.float()
        rows = z.flatten(0, -2)
        return z - (gather_rows(rows) if self.across_ranks else rows).mean(0)
