"""Embeddings whose prefixes are embeddings."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Result, Scores
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.slices import narrowed


class Matryoshka(Objective):
    """The weighted mean over ``dims`` of an objective on the first ``d`` dimensions (Kusupati et al. 2022, eq. 1).

    Every prefix is normalised anew. Callbacks see the whole embedding once: a queue serves all prefixes.

    Args:
        objective: any.
        dims: rising widths, the last being that of the embeddings.
        weights: of the widths, >= 0; ``None``: all equal. The paper takes the sum; the mean keeps the learning rate.

    Raises:
        ValueError: for other widths or weights, or embeddings of another width than the last.

    Example:
        >>> import torch
        >>> from lightning_contrast.objectives import InfoNCE
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
        >>> loss = Matryoshka(InfoNCE(1.0), [1, 2])            # log 2 by the first dimension, 0.31326 by both
        >>> round(loss(Contrast.from_pairs(z, z)).item(), 5)
        0.5032
    """

    def __init__(self, objective: Objective, dims: Sequence[int], weights: Sequence[float] | None = None) -> None:
        # Callbacks look at an objective's temperature and similarity: they are the inner one's.
        super().__init__(objective.temperature, objective.similarity, objective.symmetric)
        widths = [int(d) for d in dims]
        if not widths or widths[0] < 1 or widths != sorted(set(widths)):
            raise ValueError(f"dims={list(dims)}: give rising widths >= 1, such as [16, 32, 64, 128].")
        given = [1.0] * len(widths) if weights is None else [float(w) for w in weights]
        if len(given) != len(widths) or min(given) < 0 or sum(given) == 0:
            raise ValueError(f"weights={weights}: one number >= 0 for each of {len(widths)} widths, not all 0.")
        self.objective, self.dims = objective, widths
        self.weights = [w / sum(given) for w in given]
        self.reduction = objective.reduction  # type: ignore[misc]
        self.needs = objective.needs  # type: ignore[misc]
        self.requires = objective.requires  # type: ignore[misc]
        self.provides = objective.provides  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """As the objective's."""
        return self.objective.prepare(contrast)

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """As the objective's."""
        return self.objective.directions(contrast)

    def rows(self, scores: Scores) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """As the objective's, of the whole embedding."""
        return self.objective.rows(scores)

    def evaluate(self, contrast: Contrast) -> Result:
        """The objective's result of the whole embedding; the loss is the mean over prefixes."""
        width = contrast.anchors.first.shape[-1]
        if width != self.dims[-1]:
            raise ValueError(
                f"Matryoshka(dims={self.dims}) got embeddings of width {width}: the last of dims is the whole width."
            )
        self.objective.path = self.path
        whole = self.objective.evaluate(contrast)
        prefixes = [self.objective.evaluate(narrowed(contrast, slice(d))).loss for d in self.dims[:-1]]
        losses = torch.stack([*prefixes, whole.loss])
        return replace(whole, loss=losses @ losses.new_tensor(self.weights))
