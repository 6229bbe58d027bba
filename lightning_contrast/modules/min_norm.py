"""Two losses, neither at the other's cost."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.functional.min_norm import min_norm_share
from lightning_contrast.modules.manual import ManualModule
from lightning_contrast.regularisers.regularised import Regularised


class MinNormModule(ManualModule):
    """A ``ContrastiveModule`` with a ``Regularised`` objective, whose two losses (the objective, and the sum of the weighted
    terms) are combined by their gradients: the shortest vector between both, along which neither rises (MGDA).

    Where both have a gradient it is ``a g1 + (1 - a) g2`` with ``a`` from
    :func:`~lightning_contrast.functional.min_norm.min_norm_share` of all those parameters together; what only one of them
    trains (a classifier) follows that one.

    Args:
        *args: as for ``ContrastiveModule``.
        **kwargs: as for ``ContrastiveModule``.

    Raises:
        TypeError: for another objective.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.objective, Regularised):
            raise TypeError(
                "MinNormModule combines two losses: give objective=Regularised(objective, regularisers), got "
                f"{type(self.objective).__name__}."
            )

    def update(self, loss: Tensor) -> None:
        """One step along the combined gradient."""
        losses = [torch.stack(parts).mean() for parts in zip(*(r.parts for _, r in self._scored), strict=True)]
        parameters = self.trained()
        one, two = (self.gradients(x, parameters) for x in losses)
        shared = [i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a is not None and b is not None]
        share = min_norm_share([one[i] for i in shared], [two[i] for i in shared])  # type: ignore[misc]
        combined: list[Tensor | None] = []
        for a, b in zip(one, two, strict=True):
            combined.append(a if b is None else b if a is None else share.to(a.dtype) * a + (1 - share.to(a.dtype)) * b)
        self.step(parameters, combined)
