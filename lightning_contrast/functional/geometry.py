"""Geometry of embeddings on the sphere: alignment, uniformity, tolerance, modality gap."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.knn import check_labels
from lightning_contrast.functional.nearest import check_embeddings
from lightning_contrast.functional.potential import log_potential


def alignment(x: Tensor, y: Tensor, alpha: float = 2.0) -> Tensor:
    r"""Mean distance of positive pairs, :math:`\mathrm{mean}_i \|x_i - y_i\|^\alpha` on the unit sphere.

    Wang and Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere" (ICML 2020), equation 4.

    Args:
        x: [N, D], N >= 1; normalised here.
        y: [N, D], row i is the positive of row i of ``x``.
        alpha: power, above 0.

    Returns:
        0-d, in [0, 2 ** alpha]; 0 for identical views. Differentiable.

    Raises:
        ValueError: shapes that differ, no rows, or ``alpha <= 0``.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        tensor(2.)

    """
    check_embeddings("x", x)
    if x.shape != y.shape or not len(x):
        raise ValueError(f"x and y must be pairs of equal shape [N >= 1, D]; got {tuple(x.shape)}, {tuple(y.shape)}.")
    if not alpha > 0:
        raise ValueError(f"alpha must be above 0; got {alpha}.")
    square = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)
    return (square if alpha == 2 else square.pow(alpha / 2)).mean()


def uniformity(z: Tensor, t: float = 2.0) -> Tensor:
    r"""Logarithm of the mean Gaussian potential, :math:`\log \mathrm{mean}_{i<j} \exp(-t \|z_i - z_j\|^2)`.

    Tile by tile: memory does not grow with N x N. Wang and Isola (ICML 2020), equation 5.

    Args:
        z: [N, D], N >= 2; normalised here.
        t: sharpness, above 0.

    Returns:
        0-d, in [-4 t, 0]; 0 when all rows are equal, -4 t for two opposite points. Differentiable.

    Raises:
        ValueError: fewer than two rows, or ``t <= 0``.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        tensor(-8.)

    """
    check_embeddings("z", z)
    if len(z) < 2:
        raise ValueError(f"uniformity needs at least two rows; got {len(z)}.")
    if not t > 0:
        raise ValueError(f"t must be above 0; got {t}.")
    return log_potential(F.normalize(z, dim=1), t, distinct=True)


def tolerance_sums(z: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Sum the unit vectors of each class, and count them: all that :func:`tolerance` needs, in float64.

    Returns:
        [classes, D] and [classes].

    """
    check_embeddings("z", z)
    check_labels("labels", labels, len(z))
    if len(labels) and int(labels.max()) >= classes:
        raise ValueError(f"labels must lie below classes={classes}; got {int(labels.max())}.")
    unit = F.normalize(z.double(), dim=1)
    return unit.new_zeros(classes, z.shape[1]).index_add_(0, labels, unit), torch.bincount(labels, minlength=classes)


def tolerance_from_sums(total: Tensor, count: Tensor, over: str = "same-label") -> Tensor:
    """Compute the tolerance from class sums [C, D] and counts [C] (see :func:`tolerance`)."""
    if over not in ("same-label", "all"):
        raise ValueError(f"over must be 'same-label' or 'all'; got {over!r}.")
    same = (count * (count - 1)).sum()
    pairs = same if over == "same-label" else count.sum() * (count.sum() - 1)
    if not int(same):
        raise ValueError("tolerance needs at least two rows of one label.")
    return (total.square().sum() - count.sum()) / pairs


def tolerance(z: Tensor, labels: Tensor, over: str = "same-label") -> Tensor:
    """Mean cosine of pairs of equal label: how far semantically close samples stay close.

    Wang and Liu, "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), section 3.3. Exact from
    class sums, without pairs.

    Args:
        z: [N, D]; normalised here.
        labels: integers [N].
        over: divide by the pairs of equal label, or (the paper's indicator form) by ``"all"`` pairs.

    Returns:
        0-d float64, in [-1, 1]; 1 when every class is one point.

    Raises:
        ValueError: no two rows share a label, wrong shapes, another ``over``.

    Example:
        >>> tolerance(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]), torch.tensor([0, 1, 1]))
        tensor(1., dtype=torch.float64)

    """
    classes = int(labels.max()) + 1 if len(labels) else 0
    return tolerance_from_sums(*tolerance_sums(z, labels, classes), over)


def modality_gap(x: Tensor, y: Tensor) -> Tensor:
    """Distance between the centres of two modalities' unit vectors.

    Liang et al., "Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation
    Learning" (NeurIPS 2022), section 2.

    Args:
        x: [N, D], N >= 1; normalised here.
        y: [M, D], M >= 1; need not be paired with ``x``.

    Returns:
        0-d, in [0, 2]; 0 when the centres coincide.

    Raises:
        ValueError: no rows, or widths that differ.

    Example:
        >>> modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-2.0, 0.0]]))
        tensor(2.)

    """
    check_embeddings("x", x)
    check_embeddings("y", y, width=x.shape[1])
    if not len(x) or not len(y):
        raise ValueError(f"both modalities need rows; got {len(x)} and {len(y)}.")
    return (F.normalize(x, dim=1).mean(0) - F.normalize(y, dim=1).mean(0)).norm()
