"""A small network from pictures to pictures of a higher resolution."""

from collections.abc import Sequence

from torch import Tensor, nn

from lightning_contrast.encoders.encoder import Encoder
from lightning_contrast.functional.resolution import raised


class Upscaler(Encoder):
    """Bilinear upsampling, and what 3 x 3 convolutions and a pixel shuffle add to it (Shi et al. 2016); nothing at first.

    Args:
        widths: channels of each convolution but the last.
        factor: of the resolution, >= 1.
        channels: of the pictures; 1 for grey ones.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, widths: Sequence[int] = (32, 32), factor: int = 2, channels: int = 1) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or factor < 1 or channels < 1:
            raise ValueError(f"widths={tuple(widths)}, factor={factor}, channels={channels}: all must be at least 1.")
        self.factor, self.channels = factor, channels
        layers: list[nn.Module] = []
        before = channels
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
        last = nn.Conv2d(before, channels * factor**2, 3, padding=1)
        for p in last.parameters():
            nn.init.zeros_(p)
        self.layers = nn.Sequential(*layers, last, nn.PixelShuffle(factor))

    def forward(self, x: Tensor) -> Tensor:
        """``x: [N, channels, h, w]`` to pictures laid out as rows, ``[N, channels * factor h * factor w]``.

        Raises:
            ValueError: for another number of channels.
        """
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"Upscaler(channels={self.channels}) got pictures of shape {list(x.shape)}, not [N, {self.channels}, h, w]."
            )
        return (raised(x, self.factor) + self.layers(x)).flatten(1)
