"""Views along the noise path of diffusion: augmented pairs, and neighbouring noise levels of one picture."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.karras import karras_sigmas

_CLEAN, _PATH = 17, 18  # numbers of the draws, beside those of the views


class NoisePath(ImageAugmentation):
    """Four views: two augmented ones with the least noise, and the picture at two neighbouring noise levels, the higher first.

    For RRCM (Xu et al. 2025), with ``n_views: 4``. Each has one channel more, filled with its noise level, which the encoder
    ``NoiseConditioned`` reads. Levels are :func:`karras_sigmas`; their number doubles from time to time, so that neighbours
    come nearer. All draws are a function of seed, epoch and index.

    Args:
        levels: at first, >= 2.
        double_every: epochs until there are twice as many; ``None`` is never.
        low: the least noise, > 0, in units of the normalised values.
        high: the most, > low.
        same_noise: whether both levels have the same noise; else their own.
        **augmentation: of the first two views: as :class:`ImageAugmentation`.

    Raises:
        ValueError: for values out of range, or another number of views.
    """

    def __init__(
        self,
        levels: int = 20,
        double_every: int | None = None,
        low: float = 0.002,
        high: float = 80.0,
        same_noise: bool = True,
        **augmentation: Any,
    ) -> None:
        super().__init__(**augmentation)
        karras_sigmas(levels, low, high)
        if double_every is not None and double_every < 1:
            raise ValueError(f"double_every={double_every}: must be at least 1 epoch, or None.")
        self.levels, self.double_every, self.low, self.high = levels, double_every, low, high
        self.same_noise = same_noise

    @torch.no_grad()
    def views(self, images: Tensor, index: Tensor, epoch: int, count: int = 4) -> list[Tensor]:
        """Four of ``[N, C + 1, H, W]``."""
        if count != 4:
            raise ValueError(f"NoisePath makes four views, not n_views={count}.")
        least = torch.full((len(images),), self.low, device=images.device)
        pair = [
            self.noised(self(images, index, epoch=epoch, view=v), least, self._noise(index, epoch, v)) for v in (0, 1)
        ]
        doubled = 0 if self.double_every is None else epoch // self.double_every
        sigma = karras_sigmas(self.levels * 2**doubled, self.low, self.high).to(images.device)
        u = counter_uniform(index.to(images.device), 1, seed=self.seed, epoch=epoch, view=_CLEAN)[:, 0]
        place = (u * (len(sigma) - 1)).long()
        clean = self.normalize(images)
        if self.size is not None and tuple(clean.shape[-2:]) != tuple(self.size):
            clean = torch.nn.functional.interpolate(clean, self.size, mode="bilinear", antialias=True)
        noise = [self._noise(index, epoch, _PATH + (0 if self.same_noise else step)) for step in (0, 1)]
        path = [self.noised(clean, sigma[place + 1 - step], noise[step]) for step in (0, 1)]
        return [*pair, *path]

    def _noise(self, index: Tensor, epoch: int, view: int) -> tuple[Tensor, int, int]:
        return index, epoch, view

    def noised(self, images: Tensor, sigma: Tensor, noise: tuple[Tensor, int, int]) -> Tensor:
        """``images + sigma e`` and a channel of ``sigma``: ``[N, C + 1, H, W]``.

        Args:
            images: normalised, ``[N, C, H, W]``.
            sigma: ``[N]``.
            noise: index, epoch and number that ``e`` is drawn for.
        """
        index, epoch, view = noise
        u = counter_uniform(index.to(images.device), images[0].numel(), seed=self.seed + 1, epoch=epoch, view=view)
        normal = standard_normal(u)
        sigma = sigma.reshape(-1, 1, 1, 1)
        noisy = images + sigma * normal.reshape(images.shape)
        out = torch.cat([noisy, sigma.expand(-1, 1, *images.shape[-2:])], dim=1)
        return out.contiguous(memory_format=torch.channels_last) if self.channels_last else out


def standard_normal(u: Tensor) -> Tensor:
    """Normal numbers of uniform ones in [0, 1), multiples of ``2 ** -24``: finite for every one of them."""
    # The largest plus half a step is 1 in float32, whose inverse is infinite.
    return torch.erfinv(((u + 2.0**-25) * 2 - 1).clamp(max=1 - 2.0**-24)) * 2**0.5
