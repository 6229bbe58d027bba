"""The base of every objective."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast, Result, Scores, Similarity
from lightning_contrast.contrast.evaluate import Path, evaluate_all
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures.temperature import Fixed, TemperatureModule


class Objective(nn.Module):
    """A loss over contrasts. A subclass writes :meth:`rows`: per-anchor losses as a function of the scores.

    Args:
        temperature: a number > 0, or a temperature module (learnable, per sample, ...).
        similarity: ``None`` is cosine.
        symmetric: also score in the other direction (CLIP) and take the mean; without effect where all views are
            anchors already.

    Raises:
        ValueError: for a temperature <= 0.
    """

    reduction: ClassVar[Literal["rows", "batch"]] = "rows"
    """``rows``: a mean of per-anchor losses. ``batch``: a function of all anchors of all ranks at once."""
    needs: ClassVar[frozenset[str]] = frozenset({"positive"})
    """What an anchor must have to be counted: ``positive``, ``negative``."""
    form: Literal["softmax"] | None = None
    """``softmax``: the rows are ``logsumexp - target_sum / target_mass``, which the fast paths know."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Keys the batch must have, checked before training starts."""
    provides: ClassVar[tuple[str, ...]] = ()
    """Payload that :meth:`prepare` attaches, for regularisers beside it."""
    one_view: bool = False
    """Whether rows of one view have positives among each other, told by payload."""
    target: Target | None = None
    """Who is positive where nobody said so; ``None`` is the partner."""

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.1,
        similarity: Similarity | None = None,
        symmetric: bool = False,
    ) -> None:
        super().__init__()
        self.temperature = temperature if isinstance(temperature, nn.Module) else Fixed(temperature)
        self.similarity = similarity
        self.symmetric = symmetric
        self.path: Path = "auto"

    def rows(self, scores: Scores) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Per-anchor losses ``[n]`` of a row tile, and perhaps per-anchor figures; 0-d when the reduction is ``batch``."""
        raise NotImplementedError

    def prepare(self, contrast: Contrast) -> Contrast:
        """Fill what is empty: similarity, temperature, target. What a caller or callback sets wins."""
        if contrast.target is None and self.target is not None:
            contrast = contrast.retarget(self.target)
        if contrast.similarity is None and self.similarity is not None:
            contrast = contrast.replace(similarity=self.similarity)
        if contrast.temperature is None:
            contrast = contrast.replace(temperature=self.temperature(contrast))
        return contrast

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """The prepared contrasts to score: one or two a contrast."""
        out: list[Contrast] = []
        for one in [contrast] if isinstance(contrast, Contrast) else contrast:
            ready = self.prepare(one)
            out.append(ready)
            if self.symmetric and not ready.is_self:
                out.append(ready.reverse())
        return tuple(out)

    def evaluate(self, contrast: Contrast) -> Result:
        """Loss, counts and figures of one prepared direction."""
        return self._evaluated([contrast])[0]

    def evaluate_all(self, contrasts: Sequence[Contrast]) -> list[Result]:
        """As :meth:`evaluate` of each direction; two that share a matrix are scored together."""
        if self.form is None or len(contrasts) == 1:
            return [self.evaluate(c) for c in contrasts]
        return self._evaluated(contrasts)

    def _evaluated(self, contrasts: Sequence[Contrast]) -> list[Result]:
        return evaluate_all(
            contrasts,
            self.rows,
            needs=self.needs,
            params=[p for p in self.parameters() if p.requires_grad],
            reduction=self.reduction,
            form=self.form,
            path=self.path,
        )

    def forward(self, contrast: Contrast | Sequence[Contrast]) -> Tensor:
        """The loss, 0-d: the mean over directions of the mean over anchors."""
        directions = self.directions(contrast)
        if not directions:
            raise ValueError("Nothing to compare: the list of contrasts is empty.")
        losses = [r.loss for r in self.evaluate_all(directions)]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()
