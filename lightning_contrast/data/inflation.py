"""Training images inflated by generated ones, the real ones replicated."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lightning_contrast.data.tensor_images import TensorImages

CHUNK = 4096  # images that get their noise at once


class InflatedImages(Dataset[dict[str, Any]]):
    """Real images ``copies`` times, then generated ones; a copy keeps its index, so that it is no negative of itself.

    Args:
        real: images in memory.
        generated: uint8 ``[G, C, H, W]``; they get indices after the real ones' and the label -1 (unlabelled).
        copies: of every real image, at least 1.

    Raises:
        ValueError: for no copies, or pictures of another shape.

    """

    def __init__(self, real: TensorImages, generated: Tensor, copies: int = 10) -> None:
        if copies < 1:
            raise ValueError(f"copies must be at least 1, got {copies}")
        if generated.dtype != torch.uint8 or generated.shape[1:] != real.images.shape[1:]:
            raise ValueError(
                f"generated must be uint8 [G, {', '.join(map(str, real.images.shape[1:]))}] as the real images are, got "
                f"{generated.dtype} {list(generated.shape)}"
            )
        count = len(generated)
        after = int(real.index.max()) + 1 + torch.arange(count)
        unlabelled = None if real.labels is None else torch.full((count,), -1)
        nothing = {key: value.new_zeros(count, *value.shape[1:]) for key, value in real.payload.items()}
        self.real, self.generated = real, TensorImages(generated, unlabelled, after, **nothing)
        self.copies = copies

    def __len__(self) -> int:
        return self.copies * len(self.real) + len(self.generated)

    @property
    def real_share(self) -> float:
        """``copies |R| / (copies |R| + |G|)``, the share of real images in a batch."""
        return self.copies * len(self.real) / len(self)

    @property
    def index(self) -> Tensor:
        """Of every row, int64 ``[copies R + G]``."""
        return torch.cat([self.real.index.repeat(self.copies), self.generated.index])

    @property
    def labels(self) -> Tensor | None:
        """Of every row, -1 for generated ones, or None."""
        if self.real.labels is None or self.generated.labels is None:
            return None
        return torch.cat([self.real.labels.repeat(self.copies), self.generated.labels])

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {key: value[0] for key, value in self.__getitems__([position]).items()}

    def __getitems__(self, positions: Sequence[int]) -> dict[str, Tensor]:
        rows, border = torch.tensor(list(positions), dtype=torch.int64), self.copies * len(self.real)
        of_real = rows < border
        parts = [
            self.real.__getitems__((rows[of_real] % len(self.real)).tolist()),
            self.generated.__getitems__((rows[~of_real] - border).tolist()),
        ]
        order = torch.cat([of_real.nonzero()[:, 0], (~of_real).nonzero()[:, 0]]).argsort()
        return {key: torch.cat([part[key] for part in parts])[order] for key in parts[0]}


class Inflation:
    """Adds generated images to a training split (Wang et al., "Do Generated Data Always Help Contrastive Learning?", 2024).

    AdaInf is this with real images replicated, and views weaker than without it; the loss stays, and steps, not epochs, are
    counted. ``copies=1`` with strong views is plain ("vanilla") inflation.

    Args:
        copies: of every real image; with 50,000 real and a million generated images the paper takes 10.
        generated: a ``.npy`` file of a generative model's images, uint8 ``[G, C, H, W]``. None is a stand-in: noisy copies
            of the real ones.
        per_image: noisy copies of each real image, without a file.
        noise: their noise's standard deviation, of values in [0, 1].
        seed: of the noise.

    Raises:
        ValueError: If a number is out of range.
        FileNotFoundError: If the file is not there.

    """

    def __init__(
        self, copies: int = 10, generated: str | None = None, per_image: int = 20, noise: float = 0.2, seed: int = 0
    ) -> None:
        if min(copies, per_image) < 1:
            raise ValueError(f"copies and per_image must be at least 1, got {copies} and {per_image}")
        if not 0 <= noise <= 1:
            raise ValueError(f"noise must lie in [0, 1], got {noise}")
        if generated is not None and not Path(generated).is_file():
            raise FileNotFoundError(
                f"generated={generated!r}: there is no such file; give a .npy of uint8 [G, C, H, W]"
            )
        self.copies, self.generated, self.per_image, self.noise, self.seed = copies, generated, per_image, noise, seed

    def __call__(self, real: Dataset[Any]) -> InflatedImages:
        """The inflated split.

        Raises:
            TypeError: If the images are not in memory.

        """
        if not isinstance(real, TensorImages):
            raise TypeError(f"inflation needs images in memory (TensorImages), got {type(real).__name__}")
        return InflatedImages(real, self._noisy(real.images) if self.generated is None else self._read(), self.copies)

    def _read(self) -> Tensor:
        import numpy as np

        return torch.from_numpy(np.load(str(self.generated), allow_pickle=False))

    def _noisy(self, images: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        made = []
        for _ in range(self.per_image):
            for part in images.split(CHUNK):
                noise = torch.randn(part.shape, generator=generator) * (255 * self.noise)
                made.append((part + noise).round_().clamp_(0, 255).to(torch.uint8))
        return torch.cat(made)
