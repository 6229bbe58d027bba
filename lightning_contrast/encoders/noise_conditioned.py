"""An encoder that is told how noisy its input is."""

import torch
from torch import Tensor

from lightning_contrast.encoders.encoder import Encoder, EncoderLike


class NoiseConditioned(Encoder):
    """Scales noisy pictures to unit size and gives the encoder their noise level as a channel (Karras et al. 2022, table 1).

    The input's last channel is the noise level ``sigma``; pictures without it are taken for clean. The encoder gets ``x /
    sqrt(sigma^2 + sigma_data^2)`` and a channel of ``log(sigma) / 4``.

    Args:
        encoder: of pictures with one channel more than the data's.
        channels: of the data, >= 1.
        sigma_data: standard deviation of the normalised data, > 0.
        clean: the level of pictures without one, > 0.

    Raises:
        ValueError: for values out of range; for another number of channels.
    """

    def __init__(self, encoder: EncoderLike, channels: int = 1, sigma_data: float = 0.5, clean: float = 0.002) -> None:
        super().__init__()
        if channels < 1 or not sigma_data > 0 or not clean > 0:
            raise ValueError(
                f"channels={channels}, sigma_data={sigma_data}, clean={clean}: need channels >= 1 and the others > 0."
            )
        self.encoder, self.channels, self.sigma_data, self.clean = encoder, channels, sigma_data, clean
        self.output_dim = getattr(encoder, "output_dim", None)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels (+ 1), H, W]`` to features ``[N, F]``."""
        if x.dim() != 4 or x.shape[1] not in (self.channels, self.channels + 1):
            raise ValueError(
                f"NoiseConditioned(channels={self.channels}) got {list(x.shape)}, not [N, {self.channels}, H, W] or "
                f"[N, {self.channels + 1}, H, W] with the noise level as last channel."
            )
        if x.shape[1] == self.channels:
            sigma = torch.full_like(x[:, :1], self.clean)
        else:
            x, sigma = x[:, : self.channels], x[:, self.channels :]
        return self.encoder(torch.cat([x * (sigma.square() + self.sigma_data**2).rsqrt(), sigma.log() / 4], dim=1))
