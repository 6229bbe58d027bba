"""Levels of relevance by what two items share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_contrast.contrast import Pair, Paired
from lightning_contrast.targets.target import Target


class Levels(Target):
    """The partner has the highest level, items that share a key a lower one: the largest that applies, else 0.

    Args:
        partner: level of the partner, > 0.
        same: level by integer key, each > 0, such as ``{"label": 1.0}``.

    Raises:
        ValueError: for a level that is not above 0.
    """

    swappable = True

    def __init__(self, partner: float = 3.0, same: Mapping[str, float] | None = None) -> None:
        self.partner, self.same = partner, dict(same or {})
        if not min([partner, *self.same.values()]) > 0:
            raise ValueError(f"partner={partner}, same={self.same}: levels must be > 0; what shares nothing has 0.")

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, >= 0."""
        found = Paired()(pair) * self.partner
        for key, level in self.same.items():
            found = torch.maximum(found, pair.same(key).to(found.dtype) * level)
        return found
