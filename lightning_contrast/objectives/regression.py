"""A linear regression on the embeddings, for what stands beside it."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.objectives.objective import Objective


class Regression(Objective):
    """``mean_i |p_i - y_i|`` of a linear prediction ``p`` from each embedding: no contrast, but the loss that one serves.

    Regularisers find the predictions as payload ``prediction`` (:class:`~lightning_contrast.regularisers.ConR`). The linear
    layer is trained with the module and finds its width from the first embeddings.

    Args:
        kind: ``l1``, or ``l2`` for squares.
        key: payload of real labels, ``[N]``.

    Raises:
        ValueError: for another kind.
        KeyError: if the contrast has no such payload.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> regression = Regression()
        >>> c = Contrast.from_views(torch.zeros(2, 3, 4), score=torch.zeros(3))
        >>> regression(c).item() == abs(regression.linear.bias.item())
        True
    """

    needs = frozenset()
    requires = ("score",)
    provides = ("prediction",)

    def __init__(self, kind: Literal["l1", "l2"] = "l1", key: str = "score") -> None:
        super().__init__(temperature=1.0)
        if kind not in ("l1", "l2"):
            raise ValueError(f"kind={kind!r}: use 'l1' or 'l2'.")
        self.kind, self.key = kind, key
        self.requires = (key,)  # type: ignore[misc]
        self.linear = nn.LazyLinear(1)

    def prepare(self, contrast: Contrast) -> Contrast:
        """Every row's prediction travels with it."""
        contrast = super().prepare(contrast)
        contrast.anchors.get(self.key)
        return contrast.map_own(self._predicted)

    def _predicted(self, block: Candidates) -> Candidates:
        return block.attach(
            prediction=self.linear(block.first)[..., 0].to(torch.promote_types(block.first.dtype, torch.float32))
        )

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        gap = scores.anchor.prediction - getattr(scores.anchor, self.key).to(scores.anchor.prediction.dtype)
        return gap.abs() if self.kind == "l1" else gap.square()
