"""Several encoders of the same input, their features in one row."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.encoder import Encoder, EncoderLike


class SideBySide(Encoder):
    """``[f(x), g(x), ...]``, each with its own weights.

    With the similarity ``AcrossHalves`` two of them are the unshared encoders of Quick-Thoughts, whose text vector is both.

    Args:
        encoders: at least one.

    Raises:
        ValueError: without any.

    Example:
        >>> SideBySide([nn.Linear(3, 4), nn.Linear(3, 4)])(torch.zeros(2, 3)).shape
        torch.Size([2, 8])
    """

    def __init__(self, encoders: list[EncoderLike]) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("encoders=[]: give at least one.")
        self.encoders = nn.ModuleList(encoders)
        widths = [getattr(one, "output_dim", None) for one in encoders]
        self.output_dim = sum(widths) if all(isinstance(width, int) for width in widths) else None  # type: ignore[arg-type]

    def forward(self, x: Any) -> Tensor:
        """``[N, output_dim]``."""
        return torch.cat([encoder(x) for encoder in self.encoders], dim=1)
