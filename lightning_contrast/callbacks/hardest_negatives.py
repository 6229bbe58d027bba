"""Only the most similar negatives count."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.contrast import Contrast, Pair, Scores, pair_function
from lightning_contrast.functional.false_negatives import skip_limit


class HardestNegatives(ContrastCallback):
    r"""Excludes all but each anchor's ``count`` most similar negatives (equals of the last one stay).

    The hard negative filtering of MoCo with dual views (2025): :math:`H(q)`, the top-m entries of the queue by cosine.
    Of fewer negatives all stay, so ``count`` at least the queue's size changes nothing; the loss never falls as it grows.
    Decisions have no gradient. A :class:`FalseNegativeFilter` before it takes out suspicious ones first.

    Args:
        count: negatives kept, >= 1.
        blocks: names of the blocks it speaks of and ranks among each other; ``None`` is all.

    Raises:
        ValueError: for a number below 1.
    """

    def __init__(self, count: int = 256, blocks: Sequence[str] | None = None) -> None:
        if count < 1:
            raise ValueError(f"count={count}: at least one negative must be kept.")
        if isinstance(blocks, str):
            raise ValueError(f"blocks={blocks!r}: give a list of names.")
        self.count, self.blocks = count, None if blocks is None else tuple(blocks)
        self._rule = pair_function(statistic=self._least)(lambda pair: self._easy(pair))

    def _least(self, scores: Scores) -> Tensor:
        """The ``count``-th largest similarity of the negatives, ``[n]``; -inf where there are fewer."""
        ours = scores.exists & (scores.target <= 0)
        if self.blocks is not None:
            ours = ours & scores.read(lambda p: torch.full(p.shape, p.block in (self.blocks or ()), device=ours.device))
        return skip_limit(scores.similarity.detach(), ours, self.count - 1)

    @staticmethod
    def _easy(pair: Pair) -> Tensor:
        assert pair.statistic is not None
        return (pair.target <= 0) & (pair.similarity < pair.statistic)

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Excludes the easy ones."""
        on = None if self.blocks is None else [n for n in self.blocks if n in {b.name for b in contrast.candidates}]
        return contrast if on == [] else contrast.exclude(self._rule, on=on)
