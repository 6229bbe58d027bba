"""Fixed wavelets in front of a small trained network."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.encoders.encoder import Encoder


class Scattering(nn.Module):
    """Scattering coefficients of order 0 to 2 (Bruna and Mallat 2013): moduli of Morlet wavelets, averaged.

    ``x * phi``, ``|x * psi_a| * phi``, ``||x * psi_a| * psi_b| * phi`` with ``b`` of a larger scale than ``a``, sampled every
    ``2^scales`` pixels. Nothing is trained, and nothing is in the state.

    Args:
        scales: ``J``, number of scales, >= 1; a coefficient sees about ``2^J`` pixels.
        angles: ``L``, orientations in half a turn, >= 1.

    Raises:
        ValueError: for numbers below 1.

    Example:
        >>> Scattering(scales=2, angles=4)(torch.randn(3, 1, 28, 28)).shape
        torch.Size([3, 25, 7, 7])
    """

    def __init__(self, scales: int = 2, angles: int = 8) -> None:
        super().__init__()
        if scales < 1 or angles < 1:
            raise ValueError(f"scales={scales}, angles={angles}: must be at least 1.")
        self.scales, self.angles = scales, angles

    @property
    def maps(self) -> int:
        """Coefficients of one channel: ``1 + J L + L^2 J (J - 1) / 2``."""
        j, angles = self.scales, self.angles
        return 1 + j * angles + angles**2 * j * (j - 1) // 2

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W] -> [N, C maps, ceil(H / 2^J), ceil(W / 2^J)]``, float32 or wider."""
        x = x if x.element_size() >= 4 else x.float()
        step = 2**self.scales
        tall, broad = (-(-side // step) for side in x.shape[-2:])
        # A margin keeps the wavelets, which work on a torus, from seeing the other side.
        extra = [n * step - side for n, side in zip((tall, broad), x.shape[-2:], strict=True)]
        x = F.pad(x, (step, step + extra[1], step, step + extra[0]), mode="replicate")
        wavelets, low = (f.to(x.device, x.dtype) for f in _filters(x.shape[-2], x.shape[-1], self.scales, self.angles))

        def averaged(spectrum: Tensor) -> Tensor:
            """Filtered by ``phi`` and sampled: aliases of the small grid add up in the spectrum."""
            rows, columns = spectrum.shape[-2] // step, spectrum.shape[-1] // step
            folded = (spectrum * low).unflatten(-1, (step, columns)).mean(-2).unflatten(-2, (step, rows)).mean(-3)
            return torch.fft.ifft2(folded).real[..., 1 : 1 + tall, 1 : 1 + broad]

        spectrum = torch.fft.fft2(x)[:, :, None]
        out = [averaged(spectrum)]
        for j in range(self.scales):
            first = torch.fft.fft2(torch.fft.ifft2(spectrum * wavelets[j]).abs())
            out.append(averaged(first))
            for larger in range(j + 1, self.scales):
                second = torch.fft.ifft2(first[:, :, :, None] * wavelets[larger]).abs()
                out.append(averaged(torch.fft.fft2(second)).flatten(2, 3))
        return torch.cat(out, dim=2).flatten(1, 2)


@lru_cache(maxsize=8)
def _filters(height: int, width: int, scales: int, angles: int) -> tuple[Tensor, Tensor]:
    """Spectra of the wavelets ``[J, L, H, W]``, which have no mean, and of the average ``[H, W]``; both real."""
    v, u = (2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width))
    v, u = torch.meshgrid(v, u, indexing="ij")

    def gauss(v: Tensor, u: Tensor, sigma: float, slant: float, theta: float) -> Tensor:
        along, across = u * math.cos(theta) + v * math.sin(theta), v * math.cos(theta) - u * math.sin(theta)
        return torch.exp(-(sigma**2) * (along.square() + (across / slant).square()) / 2)

    def periodic(sigma: float, slant: float, theta: float, frequency: float) -> Tensor:
        """Frequencies beyond half the sampling rate come back from the other side."""
        turns = [2 * math.pi * k for k in (-1, 0, 1)]
        y, x = frequency * math.sin(theta), frequency * math.cos(theta)
        return torch.stack([gauss(v + p - y, u + q - x, sigma, slant, theta) for p in turns for q in turns]).sum(0)

    wavelets = []
    for j in range(scales):
        for number in range(angles):
            form = (0.8 * 2**j, 4 / angles if angles > 2 else 1.0, math.pi * number / angles)
            wave, wide = periodic(*form, 3 / 4 * math.pi / 2**j), periodic(*form, 0.0)
            wavelets.append(wave - wide * (wave[0, 0] / wide[0, 0]))
    low = periodic(0.8 * 2 ** (scales - 1), 1.0, 0.0, 0.0)
    return torch.stack(wavelets).unflatten(0, (scales, angles)).float(), (low / low[0, 0]).float()


class ScatteringCNN(Encoder):
    """Fixed scattering coefficients, then a small trained adapter of convolutions (ScatSimCLR, Kinakh et al. 2021).

    Args:
        scales: ``J``; the adapter sees pictures ``2^J`` times smaller.
        angles: ``L``.
        widths: channels of the adapter's 3 x 3 convolutions, each with a norm over the batch and ReLU.
        grid: the last feature map is averaged onto ``grid x grid`` cells.
        channels: of the input.

    Raises:
        ValueError: for values out of range, or pictures of other channels.

    Example:
        >>> ScatteringCNN(angles=4, widths=[8])(torch.randn(2, 1, 28, 28)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        scales: int = 2,
        angles: int = 8,
        widths: Sequence[int] = (128, 256),
        grid: int = 2,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or grid < 1 or channels < 1:
            raise ValueError(f"widths={tuple(widths)}, grid={grid}, channels={channels}: all must be at least 1.")
        self.scattering, self.channels = Scattering(scales, angles), channels
        before = channels * self.scattering.maps
        layers: list[nn.Module] = [nn.BatchNorm2d(before)]  # orders differ in size by far
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        self.adapter = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(grid), nn.Flatten())
        self.output_dim = before * grid * grid

    def forward(self, x: Tensor) -> Tensor:
        """``x: [N, channels, H, W]`` to ``[N, widths[-1] * grid ** 2]``."""
        if x.dim() != 4 or x.shape[1] != self.channels:
            raise ValueError(
                f"ScatteringCNN(channels={self.channels}) got pictures of shape {list(x.shape)}, not "
                f"[N, {self.channels}, H, W]: set channels to the data's."
            )
        return self.adapter(self.scattering(x))
