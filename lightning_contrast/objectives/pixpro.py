"""Pixel-level contrast and consistency between two crops of an image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast, Pair, Scores, Similarity
from lightning_contrast.contrast.ready import ready
from lightning_contrast.heads.per_place import places_of
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.nearby import Nearby
from lightning_contrast.temperatures import TemperatureModule


def pixel_contrast(
    z: Tensor, other: Tensor, coordinate: Tensor, other_coordinate: Tensor, diagonal: Tensor, other_diagonal: Tensor
) -> Contrast:
    """The places of each crop against the places of its image's other crop: one direction.

    Args:
        z: ``[N, P, D]``, a feature map with its places in a row.
        other: ``[N, P', D]``, of the other crop, usually from a momentum encoder.
        coordinate: ``[N, P, 2]``, centres of the places in the original image; flips are in them.
        other_coordinate: ``[N, P', 2]``.
        diagonal: ``[N]``, diagonal of one place of the crop, in the same units, > 0.
        other_diagonal: ``[N]``.

    Raises:
        ValueError: for maps that are not ``[N, P, D]``, or other numbers of images or places.
    """
    for name, t, where in (("z", z, coordinate), ("other", other, other_coordinate)):
        if t.dim() != 3 or where.shape != (*t.shape[:2], 2):
            raise ValueError(
                f"pixel_contrast: {name} must be [N, P, D] with coordinates [N, P, 2], got {list(t.shape)} and "
                f"{list(where.shape)}; flatten [N, D, H, W] maps with map.flatten(2).mT."
            )
    anchors = Candidates(
        z.flatten(0, 1),
        {"coordinate": coordinate.flatten(0, 1), "diagonal": diagonal.repeat_interleave(z.shape[1])},
        name="pixel",
    )
    theirs = {"coordinate": other_coordinate, "diagonal": other_diagonal[:, None].expand(other.shape[:2])}
    block = Candidates(other, theirs, name="other crop", where="private")
    return Contrast(anchors, (block,), name="crop->other crop")


def cell_centres(box: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Where in the image the cells of a crop lie.

    Args:
        box: ``[N, 5]``: top, left, height, width of the crop in pixels of the image, and 1 where it is mirrored.
        grid: cells a side.

    Returns:
        Centres ``[N, grid^2, 2]`` as (y, x), row by row; diagonals of a cell, ``[N]``.

    Example:
        >>> import torch
        >>> centres, diagonal = cell_centres(torch.tensor([[0.0, 0.0, 6.0, 8.0, 1.0]]), grid=2)
        >>> centres.tolist(), diagonal.tolist()
        ([[[1.5, 6.0], [1.5, 2.0], [4.5, 6.0], [4.5, 2.0]]], [5.0])
    """
    top, left, height, width, mirrored = box.unbind(1)
    step = (torch.arange(grid, device=box.device) + 0.5) / grid
    across = torch.where(mirrored[:, None] > 0.5, 1 - step, step)
    y = top[:, None] + height[:, None] * step
    x = left[:, None] + width[:, None] * across
    centres = torch.stack([y[:, :, None].expand(-1, -1, grid), x[:, None].expand(-1, grid, -1)], -1)
    return centres.flatten(1, 2), torch.hypot(height, width) / grid


class PixContrast(Objective):
    """``-log [ sum_{j in A_i} e^{cos(x_i, x'_j) / tau} / sum_j e^{cos(x_i, x'_j) / tau} ]`` over the places of a crop.

    ``A_i`` are the places of the other crop near place ``i``; all are summed inside the logarithm; places without one
    are left out (Xie et al., "Propagate Yourself", CVPR 2021, eq. 2). Give both directions as a list of two
    :func:`pixel_contrast`; or, with ``grid``, a module's two contrasts of flattened maps (``both_orders=True``) with
    payload ``box`` (``ImageAugmentation(boxes=True)``), of which they are made here.

    Sure: high (from memory).

    Args:
        temperature: a number > 0 or a temperature module.
        threshold: distance over the larger diagonal below which places are positives, > 0.
        similarity: ``None`` is cosine.
        grid: cells a side of the maps, where the contrasts are to be made here; ``None``: they are given.

    Example:
        >>> import torch
        >>> where, size = torch.tensor([[[0.0, 0.0], [9.0, 9.0]]]), torch.ones(1)
        >>> c = pixel_contrast(torch.eye(2)[None], torch.eye(2)[None], where, where, size, size)
        >>> round(PixContrast(temperature=1.0)(c).item(), 5)
        0.31326
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.3,
        threshold: float = 0.7,
        similarity: Similarity | None = None,
        grid: int | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if grid is not None and grid < 1:
            raise ValueError(f"grid={grid}: cells a side of the maps, at least 1, or None.")
        self.nearby, self.grid = Nearby(threshold), grid
        self.requires = () if grid is None else ("box",)  # type: ignore[misc]

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """With ``grid``, the contrasts of places."""
        if self.grid is None:
            return super().directions(contrast)
        two = [contrast] if isinstance(contrast, Contrast) else list(contrast)
        if len(two) != 2 or any(c.is_self or c.candidates[0].where == "private" for c in two):
            raise ValueError(
                f"{type(self).__name__}(grid={self.grid}) compares two crops in both orders: two views, a key_encoder, "
                f"both_orders=True and in_batch=True; got {[c.name for c in two]}."
            )
        return super().directions([self._of_places(c, view) for view, c in enumerate(two)])

    def _of_places(self, contrast: Contrast, view: int) -> Contrast:
        """Of the order in which this view is the anchor."""
        assert self.grid is not None
        anchors, first = contrast.anchors, contrast.candidates[0]
        maps = [places_of(block.first, self.grid**2) for block in (anchors, first)]
        boxes = anchors.get("box")[:, [view, 1 - view]].unbind(1)
        (here, size), (there, other_size) = (cell_centres(box, self.grid) for box in boxes)
        made = pixel_contrast(maps[0], maps[1], here, there, size, other_size)
        return made.replace(name=contrast.name, exchange=contrast.exchange)

    def prepare(self, contrast: Contrast) -> Contrast:
        """Near places are positives."""
        return super().prepare(contrast if contrast.target is not None else contrast.retarget(self.nearby))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return scores.logsumexp() - scores.logsumexp("positives")


class PixPro(PixContrast):
    """``-mean_{(i, j) in A} cos(y_i, x'_j)`` for both directions, summed: no negatives.

    ``y`` is the propagated map of the online crop (:func:`lightning_contrast.functional.propagation.propagate`), ``x'``
    the momentum encoder's map, a constant (Xie et al., CVPR 2021, eq. 4). The mean over near pairs is taken image by
    image; an image without overlap contributes 0 (and counts). Of two identical crops with a small threshold the loss
    is -2.

    Sure: high (from memory).

    Args:
        threshold: distance over the larger diagonal below which places are positives, > 0.
        similarity: ``None`` is cosine.
        grid: cells a side of the maps, where the contrasts are to be made here; ``None``: they are given.

    Example:
        >>> import torch
        >>> where, size = torch.tensor([[[0.0, 0.0], [9.0, 9.0]]]), torch.ones(1)
        >>> c = pixel_contrast(torch.eye(2)[None], torch.eye(2)[None], where, where, size, size)
        >>> PixPro()([c, c]).item()
        -2.0
    """

    needs = frozenset()

    def __init__(self, threshold: float = 0.7, similarity: Similarity | None = None, grid: int | None = None) -> None:
        super().__init__(1.0, threshold, similarity, grid)

    def prepare(self, contrast: Contrast) -> Contrast:
        """The other crop detached; every place knows its image's number of near pairs."""
        first = contrast.candidates[0]
        if first.where != "private":
            raise ValueError("PixPro compares the places of one image's two crops: build it with pixel_contrast.")
        contrast = super().prepare(contrast.replace(candidates=(first.detach(), *contrast.candidates[1:])))
        near = Pair(ready(contrast.replace(exchange="none")), first).target.unflatten(0, (first.first.shape[0], -1))
        pairs = near.sum((1, 2)).clamp(min=1)
        weight = 2 * near.shape[1] / pairs  # twice: the mean over the two directions becomes their sum
        anchors = contrast.anchors.attach(
            weight=weight.repeat_interleave(near.shape[1]).to(contrast.anchors.first.dtype)
        )
        return contrast.replace(anchors=anchors)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return -scores.target_sum() * scores.anchor.weight
