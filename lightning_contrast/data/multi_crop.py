"""Several small crops beside the large ones: more views for little more time."""

from typing import Any

from lightning_contrast.data.augment import ImageAugmentation


class MultiCrop(ImageAugmentation):
    """The first views are large crops, the others small ones of low resolution (Caron et al. 2020, SwAV, section 3.3).

    ``n_views`` of the DataModule counts both: with 2 large views, ``n_views: 6`` makes 4 small ones. They go to any objective
    over V views; with a key encoder or predictor, and in SwAV, the small views predict the large ones and are never
    predicted. A small view costs the encoder ``(small_size / size) ** 2`` of a large one. Both are drawn as
    :class:`ImageAugmentation` draws them, so views of the same number, and none small, are its views.

    Args:
        small_size: side of the small views in pixels (the paper: 96 beside 224), or height and width.
        small_scale: range of their share of the area, within (0, 1] (the paper: 0.05 to 0.14, and 0.14 to 1 for the large).
        large_views: how many views come first and are large, >= 1.
        **large: of the large views, and what they have in common: as :class:`ImageAugmentation`.

    Raises:
        ValueError: If a value is out of its range.

    Example::

        >>> import torch
        >>> images, index = torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.arange(4)
        >>> [view.shape[-1] for view in MultiCrop(small_size=14).views(images, index, epoch=0, count=4)]
        [28, 28, 14, 14]
    """

    def __init__(
        self,
        small_size: int | tuple[int, int] = 14,
        small_scale: tuple[float, float] = (0.1, 0.4),
        large_views: int = 2,
        **large: Any,
    ) -> None:
        super().__init__(**large)
        # The same checks, told of the small crops' own names.
        try:
            small = ImageAugmentation(size=small_size, scale=small_scale)
        except ValueError as error:
            raise ValueError(f"small_size={small_size}, small_scale={small_scale}: {error}") from None
        if large_views < 1:
            raise ValueError(f"large_views={large_views}: must be at least 1.")
        self.small_size, self.small_scale, self.large_views = small.size, small.scale, large_views

    def crop(self, view: int) -> tuple[tuple[int, int] | None, tuple[float, float]]:
        """Those of the large crops for the first views, then those of the small ones."""
        return super().crop(view) if view < self.large_views else (self.small_size, self.small_scale)
