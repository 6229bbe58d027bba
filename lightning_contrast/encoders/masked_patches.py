"""An encoder that sees only some patches of its pictures while it learns."""

import torch
from torch import Tensor

from lightning_contrast.encoders.encoder import Encoder, EncoderLike


class MaskedPatches(Encoder):
    """Hides a share of the patches of each picture in training: other ones in every picture and call.

    What is hidden is 0, the mean of normalised pictures. In evaluation the encoder sees everything. Two towers, each with
    masks of its own, are the contrastive part of CROMA (Fuller et al., NeurIPS 2023).

    Args:
        encoder: pictures ``[N, C, H, W]`` to features.
        patch: side of a patch in pixels, >= 1.
        share: of the patches that are hidden (as many whole ones as fit into it), in [0, 1); 0 hides none.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, encoder: EncoderLike, patch: int = 4, share: float = 0.75) -> None:
        super().__init__()
        if patch < 1 or not 0 <= share < 1:
            raise ValueError(f"patch={patch}, share={share}: a patch has at least 1 pixel, the share lies in [0, 1).")
        self.encoder, self.patch, self.share = encoder, patch, share
        self.output_dim = getattr(encoder, "output_dim", None)

    def forward(self, x: Tensor) -> Tensor:
        """``x: [N, C, H, W]`` to ``[N, output_dim]``."""
        return self.encoder(x * self.visible(x) if self.training and self.share else x)

    def visible(self, x: Tensor) -> Tensor:
        """Where a picture may be seen, ``[N, 1, H, W]`` of 0 and 1; border patches may be cut."""
        n, _, height, width = x.shape
        rows, columns = -(-height // self.patch), -(-width // self.patch)
        order = torch.rand(n, rows * columns, device=x.device).argsort(1).argsort(1)
        seen = (order >= int(self.share * rows * columns)).to(x.dtype).view(n, 1, rows, columns)
        seen = seen.repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)
        return seen[:, :, :height, :width]
