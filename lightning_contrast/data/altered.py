"""Pictures in which something was changed, with a word of what: pasted digits, forgeries."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.augment import ImageAugmentation
from lightning_contrast.data.digits import read_digits
from lightning_contrast.data.normalize import as_float
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.resolution import lowered, raised

_SEED = 7919  # of what is changed: other numbers than those of the views


class Altered(ImageAugmentation):
    """Some samples are changed, the same ones alike in every epoch and view; then views are made as ever.

    Pictures for validation and test stay as they are. A subclass writes :meth:`alter`.

    Args:
        share: of the samples that are changed, in [0, 1].
        **kwargs: as for ``ImageAugmentation``.

    Raises:
        ValueError: if a value is out of its range.
    """

    def __init__(self, share: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: of the samples that are changed, must lie in [0, 1].")
        self.share = share

    def alter(self, images: Tensor, u: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Change pictures.

        Args:
            images: float in [0, 1], ``[N, C, H, W]``.
            u: uniform numbers of each, ``[N, 6]``; the first has decided that it is changed.

        Returns:
            All of them changed, and int64 payload ``[N]`` of the changed, which is 0 for the others.
        """
        raise NotImplementedError

    def views(self, images: Tensor, index: Tensor, epoch: int, count: int = 2) -> list[Tensor]:
        """`count` views of every changed or unchanged image."""
        return super().views(self._altered(images, index)[0], index, epoch, count)

    def payload(self, images: Tensor, index: Tensor, epoch: int, count: int = 2) -> dict[str, Tensor]:
        """What was changed."""
        return {**super().payload(images, index, epoch, count), **self._altered(images, index)[1]}

    @torch.no_grad()
    def _altered(self, images: Tensor, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        u = counter_uniform(index.to(images.device), 6, seed=self.seed + _SEED)
        changed, images = u[:, 0] < self.share, as_float(images)
        other, known = self.alter(images, u)
        return torch.where(changed[:, None, None, None], other, images), {k: v * changed for k, v in known.items()}


class PastedDigits(Altered):
    """A handwritten digit (scikit-learn's) over a part of the picture: what only these have is the digit.

    Payload: ``pasted`` 1 or 0, ``digit`` its class plus 1, or 0.

    Args:
        share: of the samples with a digit, in [0, 1].
        size: of the digit's square, as a part of the picture's height, in (0, 1].
        **kwargs: as for ``ImageAugmentation``.

    Raises:
        ValueError: if a value is out of its range.
    """

    def __init__(self, share: float = 0.5, size: float = 0.5, **kwargs: Any) -> None:
        super().__init__(share, **kwargs)
        if not 0 < size <= 1:
            raise ValueError(f"size={size}: a part of the picture's height, must lie in (0, 1].")
        self.digit_size = size
        self._digits: tuple[Tensor, Tensor] | None = None

    def alter(self, images: Tensor, u: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The brighter of picture and digit."""
        side = max(8, round(self.digit_size * min(images.shape[-2:])))
        if self._digits is None or self._digits[0].shape[-1] != side:
            digits, labels = read_digits(side)
            self._digits = as_float(digits), labels
        digits, labels = (t.to(images.device) for t in self._digits)
        chosen = (u[:, 1] * len(digits)).long()
        top, left = ((u[:, 2 + i] * (images.shape[2 + i] - side + 1)).long() for i in (0, 1))
        cell = torch.arange(side, device=images.device)
        rows, columns = (top[:, None] + cell)[:, :, None], (left[:, None] + cell)[:, None]
        out, who = images.clone(), torch.arange(len(images), device=images.device)[:, None, None]
        out[who, :, rows, columns] = torch.maximum(out[who, :, rows, columns], digits[chosen, 0][..., None])
        return out, {"pasted": torch.ones_like(chosen), "digit": labels[chosen] + 1}


class Forgeries(Altered):
    """Pictures forged by one of four methods, half of them or as said, the rest real.

    Payload: ``forged`` 1 or 0, ``method`` 1 to 4 or 0: 1, a square from the mirrored picture; 2, a square at half the
    resolution; 3, a square inverted; 4, a square turned upside down. Squares have half the picture's height.

    Args:
        share: of the forged, in [0, 1].
        **kwargs: as for ``ImageAugmentation``.

    Raises:
        ValueError: if a value is out of its range.
    """

    def __init__(self, share: float = 0.5, **kwargs: Any) -> None:
        super().__init__(share, **kwargs)

    def alter(self, images: Tensor, u: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A square of each by its method."""
        h, w = images.shape[-2:]
        method = (u[:, 1] * 4).long()
        soft = raised(lowered(images, 2), 2) if h % 2 == w % 2 == 0 else images.flip(2, 3)
        made = torch.stack([images.flip(3), soft, 1 - images, images.flip(2)])
        made = made[method, torch.arange(len(images), device=images.device)]
        side = max(1, min(h, w) // 2)
        y, x = torch.arange(h, device=images.device), torch.arange(w, device=images.device)
        top, left = (u[:, 2] * (h - side + 1)).long()[:, None], (u[:, 3] * (w - side + 1)).long()[:, None]
        inside = ((y >= top) & (y < top + side))[:, :, None] & ((x >= left) & (x < left + side))[:, None]
        return torch.where(inside[:, None], made, images), {"forged": torch.ones_like(method), "method": method + 1}
