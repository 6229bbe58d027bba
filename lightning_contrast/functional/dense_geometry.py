"""Alignment and uniformity of feature maps, place by place."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.potential import log_potential


def match_cells(features: Tensor, other: Tensor) -> Tensor:
    """The most similar place of the other view for every place, by cosine of backbone features.

    Args:
        features: [N, C, H, W].
        other: [N, C, H', W'], the other view's.

    Returns:
        int64 [N, H * W], places of the other map, row by row.

    Example:
        >>> match_cells(torch.eye(4).view(1, 4, 2, 2), torch.eye(4).flip(1).view(1, 4, 2, 2))
        tensor([[3, 2, 1, 0]])

    """
    _check_maps(features, other)
    a, b = (F.normalize(x.flatten(2), dim=1) for x in (features, other))
    return (a.mT @ b).argmax(2)


def match_by_position(position: Tensor, other: Tensor) -> Tensor:
    """The nearest place of the other view for every place, by where both lie in the original image.

    Args:
        position: [N, P, 2], centres of the places; crops and flips are in them.
        other: [N, P', 2].

    Returns:
        int64 [N, P].

    """
    return torch.cdist(position.double(), other.double()).argmin(2)


def dense_alignment(features: Tensor, other: Tensor, match: Tensor) -> Tensor:
    r"""Squared distance :math:`\|F_u - F'_{m(u)}\|^2` of unit cells and their partners, mean over places.

    "Correlation between Alignment-Uniformity and Performance of Dense Contrastive Representations" (2022). With one
    place it is the alignment of Wang and Isola.

    Args:
        features: [N, C, H, W].
        other: [N, C, H', W'].
        match: [N, H * W], places of the other map.

    Returns:
        [N], in [0, 4]; 0 for identical views matched by place.

    Raises:
        ValueError: shapes that do not fit.

    """
    _check_maps(features, other)
    if match.shape != (len(features), features[0, 0].numel()):
        raise ValueError(f"match must be [N, H * W] = [{len(features)}, {features[0, 0].numel()}]; got {match.shape}.")
    a, b = (F.normalize(x.flatten(2), dim=1) for x in (features, other))
    return (a - b.gather(2, match[:, None].expand_as(a))).square().sum(1).mean(1)


def cells(features: Tensor) -> Tensor:
    """The unit vectors of all places [N * H * W, C], image by image."""
    return F.normalize(features.flatten(2), dim=1).mT.flatten(0, 1)


def dense_uniformity(features: Tensor, t: float = 2.0, within: bool = False) -> Tensor:
    r"""Uniformity of places, :math:`\log \mathrm{mean} \exp(-t \|F_u - F_v\|^2)` over pairs of places.

    Args:
        features: [N, C, H, W].
        t: sharpness, above 0.
        within: only pairs of places of one image (0 when all places of an image are equal), the mean over images of the
            same size; else all pairs.

    Returns:
        0-d, in [-4 t, 0].

    Raises:
        ValueError: fewer than two places to compare, or ``t <= 0``.

    Example:
        >>> dense_uniformity(torch.ones(2, 3, 2, 2))
        tensor(0.)

    """
    _check_maps(features, features)
    places = features[0, 0].numel() if len(features) else 0
    if not t > 0:
        raise ValueError(f"t must be above 0; got {t}.")
    if places * (1 if within else len(features)) < 2:
        raise ValueError(f"dense uniformity needs two places; got maps of shape {tuple(features.shape)}.")
    if not within:
        return log_potential(cells(features), t, distinct=True).clamp(max=0)  # of rounding
    found = torch.stack([log_potential(cells(one[None]), t, distinct=True) for one in features])
    return (found.logsumexp(0) - math.log(len(found))).clamp(max=0)


def multiple_correlation(figures: Tensor, score: Tensor) -> Tensor:
    """How well a plane through several runs' figures explains their score: multiple correlation coefficient R.

    The scalar of the paper is not known for sure; this is the nearest defensible form (a reconstruction).

    Args:
        figures: [R, F], for instance alignment and uniformity of R runs, R > F + 1.
        score: [R], their downstream scores.

    Returns:
        0-d float64 in [0, 1]; 1 for exactly linear scores, nan for constant ones.

    Raises:
        ValueError: too few runs, or shapes that do not fit.

    Example:
        >>> figures = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0], [3.0, 1.0]])
        >>> round(float(multiple_correlation(figures, 3 * figures[:, 0] - figures[:, 1])), 6)
        1.0

    """
    if figures.dim() != 2 or score.shape != figures.shape[:1] or len(figures) < figures.shape[1] + 2:
        raise ValueError(
            f"multiple_correlation needs figures [R, F] of R >= F + 2 runs and a score of each; got "
            f"{tuple(figures.shape)} and {tuple(score.shape)}."
        )
    x, y = figures.double() - figures.double().mean(0), score.double() - score.double().mean()
    fitted = x @ torch.linalg.lstsq(x, y[:, None], driver="gelsd").solution[:, 0]
    return (fitted.norm() / y.norm()).clamp(max=1.0)


def _check_maps(features: Tensor, other: Tensor) -> None:
    if features.dim() != 4 or other.dim() != 4 or features.shape[:2] != other.shape[:2]:
        raise ValueError(
            f"feature maps must be [N, C, H, W] of the same images and width; got {tuple(features.shape)} and "
            f"{tuple(other.shape)}."
        )
