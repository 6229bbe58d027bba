"""Training splits with few samples of some classes, or none."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def long_tailed(labels: Tensor, ratio: float, seed: int = 0) -> Tensor:
    """Rows to keep, sorted, so that class ``c`` of ``C`` has ``n ratio ** (-c / (C - 1))`` of them (Cui et al. 2019).

    ``n`` is the size of the smallest class before, so that the ratio of the first class to the last is what was asked for.
    Classes keep their order: the first stays whole (up to ``n``), the last becomes the rarest.

    Args:
        labels: int64 ``[N]``.
        ratio: of the largest class to the smallest, >= 1; 1 balances.
        seed: of the choice within each class.

    Returns:
        int64 ``[M]``, ``M <= N``.

    Raises:
        ValueError: for a ratio out of range, or so large that a class would be left without a sample.

    Example:
        >>> labels = torch.arange(3).repeat_interleave(100)
        >>> labels[long_tailed(labels, ratio=25)].bincount().tolist()
        [100, 20, 4]
    """
    if not 1 <= ratio < float("inf"):
        raise ValueError(f"imbalance={ratio}: the ratio of the largest class to the smallest, a finite number >= 1.")
    classes, inverse, sizes = labels.unique(return_inverse=True, return_counts=True)
    most = int(sizes.min())
    last = max(1, len(classes) - 1)
    wanted = [round(most * ratio ** (-c / last)) for c in range(len(classes))]
    if wanted[-1] < 1:
        raise ValueError(
            f"imbalance={ratio} would leave no sample of class {int(classes[-1])}, where the smallest class has {most}: "
            f"at most {2 * most - 1} goes."
        )
    generator = torch.Generator().manual_seed(seed)
    kept = []
    for c, count in enumerate(wanted):
        members = (inverse == c).nonzero()[:, 0]
        kept.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(kept).sort().values


def check_shares(rare: Mapping[int, float] | None) -> dict[int, float] | None:
    """The shares as given.

    Raises:
        ValueError: for one outside (0, 1].
    """
    if rare is not None and not all(0 < share <= 1 for share in rare.values()):
        raise ValueError(f"rare={dict(rare)}: the share that each class keeps must lie in (0, 1].")
    return None if rare is None else dict(rare)


def undersampled(labels: Tensor, rare: Mapping[int, float], seed: int = 0) -> Tensor:
    """Rows to keep, sorted, so that some classes keep only a share of theirs, at least one row.

    Args:
        labels: int64 ``[N]``.
        rare: share by class, in (0, 1].
        seed: of the choice.

    Raises:
        ValueError: for a class without rows, or a share out of range.

    Example:
        >>> labels = torch.arange(2).repeat_interleave(100)
        >>> labels[undersampled(labels, {1: 0.03})].bincount().tolist()
        [100, 3]
    """
    check_shares(rare)
    generator = torch.Generator().manual_seed(seed)
    kept = torch.ones_like(labels, dtype=torch.bool)
    for c, share in sorted(rare.items()):
        members = (labels == c).nonzero()[:, 0]
        if not len(members):
            raise ValueError(f"rare={dict(rare)}: there is no training image of class {c}.")
        count = max(1, round(share * len(members)))
        kept[members[torch.randperm(len(members), generator=generator)[count:]]] = False
    return kept.nonzero()[:, 0]


def rows_of_classes(labels: Tensor, rows: Tensor, classes: Sequence[int]) -> Tensor:
    """Those of the rows whose label is one of these.

    Args:
        labels: int64 ``[N]``.
        rows: int64 ``[M]``, into the labels.
        classes: at least one.

    Raises:
        ValueError: if no row has one of them, or a class has none.
    """
    absent = sorted(set(classes) - set(labels[rows].tolist()))
    if absent or not classes:
        raise ValueError(
            f"classes={list(classes)}: there is no training image of {absent or 'no class'}; the labels run from "
            f"{int(labels.min())} to {int(labels.max())}."
        )
    return rows[torch.isin(labels[rows], torch.tensor(list(classes)))]
