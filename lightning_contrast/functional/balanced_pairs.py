"""As many pairs of equal labels as of different ones."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from lightning_contrast.functional.knn import check_labels


class BalancedPairs(NamedTuple):
    """Pairs of rows."""

    first: Tensor
    """int64 ``[P]``."""
    second: Tensor
    """int64 ``[P]``; never the same row as the first."""
    same: Tensor
    """1 where both have one label, else 0, float32 ``[P]``."""


def balanced_pairs(labels: Tensor, pairs: int, per: Literal["text", "class"] = "text", seed: int = 0) -> BalancedPairs:
    """`pairs` of equal labels and as many of different ones, for each row or for each class.

    SetFit (Tunstall et al. 2022, section 3.1): pairs are drawn with replacement, so that few rows make many.

    Args:
        labels: integers ``[n]``, two rows of every class at least.
        pairs: ``R`` >= 1.
        per: ``text``: ``2 R n`` pairs, each row the first of ``2 R``; ``class``: ``2 R C`` of ``C`` classes, a row of the class
            the first.
        seed: of the draws.

    Raises:
        ValueError: for numbers out of range, one class alone, or a class of a single row.

    Example:
        >>> found = balanced_pairs(torch.tensor([0, 0, 1, 1]), pairs=3)
        >>> len(found.first), found.same.mean().item()
        (24, 0.5)
    """
    check_labels("labels", labels, len(labels))
    if pairs < 1 or per not in ("text", "class"):
        raise ValueError(f"pairs={pairs}, per={per!r}: need at least 1 pair, for each 'text' or 'class'.")
    classes, count = labels.unique(return_counts=True)
    if len(classes) < 2 or int(count.min()) < 2:
        raise ValueError(
            f"{len(classes)} classes, the smallest of {int(count.min())} rows: pairs of equal and of different labels need two "
            "classes, and two rows of each."
        )
    generator = torch.Generator().manual_seed(seed)
    rows = {int(label): (labels == label).nonzero()[:, 0] for label in classes}
    others = {int(label): (labels != label).nonzero()[:, 0] for label in classes}

    def drawn(from_: Tensor, how_many: int) -> Tensor:
        return from_[torch.randint(len(from_), (how_many,), generator=generator)]

    out: list[tuple[Tensor, Tensor, Tensor]] = []
    for label, own in rows.items():
        for kind in (1.0, 0.0):
            first = own.repeat_interleave(pairs) if per == "text" else drawn(own, pairs)
            if kind:  # one of the class's other rows: their places counted from the first's own
                place = torch.searchsorted(own, first)
                ahead = torch.randint(1, len(own), (len(first),), generator=generator)
                second = own[(place + ahead) % len(own)]
            else:
                second = drawn(others[label], len(first))
            out.append((first, second, torch.full((len(first),), kind)))
    return BalancedPairs(*(torch.cat(parts) for parts in zip(*out, strict=True)))
