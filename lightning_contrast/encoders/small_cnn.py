"""A small convolutional network for small pictures."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.encoder import Encoder


class SmallCNN(Encoder):
    """3 x 3 convolutions with a norm and ReLU, all but the first with stride 2, then an averaged grid of features.

    Args:
        widths: channels of each convolution; every one but the first halves the resolution.
        grid: the last feature map is averaged onto ``grid x grid`` cells, so a feature keeps roughly where it was seen.
        channels: of the input; 1 for grey pictures.
        norm: ``batch``, or ``group`` (up to 8 groups), by which a picture's features do not depend on the others: a batch
            encoded in chunks then has exactly the gradient of the whole.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 128),
        grid: int = 2,
        channels: int = 1,
        norm: Literal["batch", "group"] = "batch",
    ) -> None:
        super().__init__()
        if norm not in ("batch", "group"):
            raise ValueError(f"norm={norm!r}: use 'batch' or 'group'.")
        if not widths or min(widths) < 1 or grid < 1 or channels < 1:
            raise ValueError(f"widths={tuple(widths)}, grid={grid}, channels={channels}: all must be at least 1.")
        layers: list[nn.Module] = []
        before = channels
        for i, width in enumerate(widths):
            # Strides, not max pooling: the same time, and neighbours a point better (a last map of 4 x 4, not 3 x 3).
            convolution = nn.Conv2d(before, width, 3, stride=2 if i else 1, padding=1, bias=False)
            norms = nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(math.gcd(8, width), width)
            layers += [convolution, norms, nn.ReLU(inplace=True)]
            before = width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid), nn.Flatten())
        self.output_dim = before * grid * grid
        self.channels = channels
        # The layout in which small convolutions are fastest.
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """``x: [N, channels, H, W]`` to ``[N, widths[-1] * grid ** 2]``.

        Raises:
            ValueError: for another number of channels.
        """
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"SmallCNN(channels={self.channels}) got pictures of shape {list(x.shape)}, not "
                f"[N, {self.channels}, H, W]: set channels to the data's."
            )
        return self.layers(x)
