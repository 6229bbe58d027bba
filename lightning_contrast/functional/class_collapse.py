"""Is what distinguishes the subclasses of a class still there?"""

import torch
from torch import Tensor

from lightning_contrast.functional.ridge import RidgeStatistics


def subclass_share(statistics: RidgeStatistics, superclass: Tensor) -> Tensor:
    r"""Share of the variance within classes that lies between their subclasses: tr(S_sub) / tr(S_within).

    Xue et al., "Which Features are Learnt by Contrastive Learning?" (ICML 2023): 0 where classes have collapsed, so that
    subclasses cannot be told apart.

    Args:
        statistics: of :func:`lightning_contrast.functional.ridge.ridge_statistics`, by subclass.
        superclass: integers [C], the class of each subclass.

    Returns:
        0-d float64 in [0, 1]; 0 also when all samples of a class are equal.

    Raises:
        ValueError: a superclass for another number of subclasses, or no class with two of them.

    """
    if superclass.shape != statistics.rows.shape:
        raise ValueError(
            f"superclass must name the class of {len(statistics.rows)} subclasses; got {superclass.shape}."
        )
    seen = statistics.rows > 0
    _, place = superclass[seen].unique(return_inverse=True)
    count, total = statistics.rows[seen], statistics.total[seen]
    if not len(count) or int(place.max()) + 1 == len(count):
        raise ValueError("no class has two subclasses that occur; subclass_share needs one.")
    classes = int(place.max()) + 1
    class_count = count.new_zeros(classes).index_add_(0, place, count)
    class_total = total.new_zeros(classes, total.shape[1]).index_add_(0, place, total)
    energy = (class_total.square().sum(1) / class_count).sum()
    between = (total.square().sum(1) / count).sum() - energy
    within = statistics.gram.trace() - energy
    rounding = 1e-12 * statistics.gram.trace()
    return torch.where(within > rounding, between / within, torch.zeros_like(within)).clamp(0, 1)
