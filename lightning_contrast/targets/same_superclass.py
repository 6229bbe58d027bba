"""Labels of one superclass are positives."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Pair
from lightning_contrast.targets.target import Target


class SameSuperclass(Target):
    """1 where the labels of anchor and candidate belong to one superclass; negative labels match nobody.

    Args:
        superclass: of each label ``0 .. C - 1``, integers >= 0; digits by parity are ``[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]``.
        key: the payload with the labels.

    Raises:
        ValueError: for no superclass or a negative one; at use for a label that has none.

    """

    swappable = True

    def __init__(self, superclass: Sequence[int], key: str = "label") -> None:
        if not superclass or min(superclass) < 0:
            raise ValueError(f"superclass={list(superclass)}: give the superclass of every label, integers >= 0.")
        self.superclass, self.key = tuple(superclass), key

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, 0 or 1."""
        a, b = (self._of(getattr(side, self.key)) for side in (pair.anchor, pair.candidate))
        return ((a == b) & (a >= 0)).expand(pair.shape).float()

    def _of(self, label: Tensor) -> Tensor:
        if label.numel() and int(label.max()) >= len(self.superclass):
            raise ValueError(
                f"superclass speaks of {len(self.superclass)} labels, but {self.key!r} has {int(label.max())}: name the "
                "superclass of every label."
            )
        table = torch.tensor(self.superclass, device=label.device)
        return table[label.clamp(min=0)].masked_fill(label < 0, -1)
