"""Which of the nearest samples are negatives: rules with sentence-transformers' names, in the order given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.false_negatives import (
    absolute_limit,
    check_limits,
    quantile_limit,
    relative_limit,
)

ORDER = ("absolute_margin", "relative_margin", "max_score", "min_score", "quantile", "range_min")


@dataclass(frozen=True)
class Rules:
    """What is mined for a query, from its nearest samples.

    Same items (by index), then ``same_key`` and ``same_label`` come first: such pairs do not exist, so ranks count only
    others. Of those the ``range_max`` nearest are looked at; the other rules act on them one after another, each on what
    those before it left. Where fewer than ``num_negatives`` are left, places stay empty: nothing is made up.

    Args:
        num_negatives: of each query, >= 1.
        range_min: leave out so many of the hardest that are left.
        range_max: look at so many nearest samples; ``None`` is ``range_min + 10 * num_negatives``.
        same_label: leave out samples of the query's label; negative labels match nobody.
        same_key: leave out samples of equal payload of this name (a document, a group); negative ones match nobody.
        absolute_margin: leave out where ``s > p - margin``, ``p`` the similarity of the query's own pair, margin >= 0.
        relative_margin: leave out where ``s > p - |p| * margin``, margin in [0, 1].
        max_score: leave out where ``s > max_score``.
        min_score: leave out where ``s < min_score``.
        quantile: leave out the most similar share of what is left, in (0, 1).
        sampling_strategy: ``top``: the hardest that are left. ``random``: drawn from them. ``softmax``: drawn one after
            another with probabilities ``softmax(s / T)`` (Suresh et al., "CoRNStack", ICLR 2025).
        sampling_temperature: ``T`` > 0: near 0 the hardest are drawn, a large one draws like ``random``.
        order: names of rules that go first, in this order; the others follow as listed here.
        seed: of the draws.

    Raises:
        ValueError: for values out of range.
    """

    num_negatives: int = 4
    range_min: int = 0
    range_max: int | None = None
    same_label: bool = False
    same_key: str | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None
    min_score: float | None = None
    quantile: float | None = None
    sampling_strategy: Literal["top", "random", "softmax"] = "top"
    order: Sequence[str] | None = None
    seed: int = 0
    sampling_temperature: float = 0.05

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if self.num_negatives < 1 or self.range_min < 0 or self.depth < self.range_min + self.num_negatives:
            raise ValueError(
                f"num_negatives={self.num_negatives}, range_min={self.range_min}, range_max={self.range_max}: need "
                "num_negatives >= 1, range_min >= 0 and range_max >= range_min + num_negatives."
            )
        check_limits(self.absolute_margin, self.relative_margin, self.max_score, self.min_score, self.quantile)
        if self.sampling_strategy not in ("top", "random", "softmax"):
            raise ValueError(f"sampling_strategy={self.sampling_strategy!r}: use 'top', 'random' or 'softmax'.")
        if not 0 < self.sampling_temperature < float("inf"):
            raise ValueError(f"sampling_temperature={self.sampling_temperature}: must be a finite number > 0.")
        order = self.order or ()
        if isinstance(order, str) or set(order) - set(ORDER) or len(set(order)) != len(order):
            raise ValueError(f"order={self.order!r}: a list of different rules out of {', '.join(ORDER)}.")

    @property
    def depth(self) -> int:
        """How many nearest samples are looked at."""
        return self.range_min + 10 * self.num_negatives if self.range_max is None else self.range_max

    @property
    def names(self) -> tuple[str, ...]:
        """The rules in use, in the order in which they act."""
        first = [("same_key", self.same_key is not None), ("same_label", self.same_label)]
        order = self.order or ()
        later = [(name, bool(self.range_min) if name == "range_min" else getattr(self, name) is not None)
                 for name in (*order, *(n for n in ORDER if n not in order))]  # fmt: skip
        return tuple(name for name, used in (*first, *later) if used)

    @property
    def requires(self) -> tuple[str, ...]:
        """What of the samples the rules read beside scores: keys of the payload."""
        return tuple(
            dict.fromkeys([*([self.same_key] if self.same_key else []), *(["label"] if self.same_label else [])])
        )

    def kept(self, score: Tensor, exists: Tensor, positive: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Which neighbours the rules on scores and ranks leave, bool ``[n, k]``, and how many each removed, ``[n]``.

        Args:
            score: ``[n, k]``, columns from the hardest to the easiest.
            exists: bool ``[n, k]``: which columns hold a neighbour.
            positive: ``[n]``: the similarity of each query's own pair.
        """
        keep, removed = exists, {}
        for name in self.names:
            if name in ORDER:
                left = keep & self._allows(name, score, keep, positive)
                removed[name] = (keep & ~left).sum(1)
                keep = left
        return keep, removed

    def _allows(self, name: str, score: Tensor, keep: Tensor, positive: Tensor) -> Tensor:
        if name == "range_min":
            return keep.cumsum(1) > self.range_min
        value: float = getattr(self, name)
        if name == "min_score":
            return score >= value
        if name == "max_score":
            return score <= value
        if name == "quantile":
            limit = quantile_limit(score, keep, value)
        else:
            limit_of = absolute_limit if name == "absolute_margin" else relative_limit
            limit = limit_of(positive, value)
        return score <= limit[:, None]

    def chosen(self, keep: Tensor, score: Tensor, index: Tensor, step: int) -> Tensor:
        """Columns of the negatives, from the hardest to the easiest, int64 ``[n, num_negatives]``; -1 where there are none.

        Args:
            keep: bool ``[n, k]``.
            score: ``[n, k]``.
            index: ids of the queries, int64 ``[n]``: a draw is a function of seed, step, query and rank.
            step: of the draws.
        """
        order = torch.arange(keep.shape[1], device=keep.device, dtype=torch.float32).expand(keep.shape)
        if self.sampling_strategy != "top":
            order = counter_uniform(index, keep.shape[1], seed=self.seed, epoch=step)
        if self.sampling_strategy == "softmax":  # the largest of logits and Gumbel noise are such draws
            noise = -(-torch.log1p(-order.double().clamp(1e-12, 1 - 1e-12))).log()  # the same as random for T -> inf
            order = -(score.double() / self.sampling_temperature + noise)
        count = min(self.num_negatives, keep.shape[1])
        place = order.masked_fill(~keep, torch.inf).topk(count, largest=False).indices
        place = place.masked_fill(~keep.gather(1, place), keep.shape[1]).sort(dim=1).values
        place = torch.nn.functional.pad(place, (0, self.num_negatives - count), value=keep.shape[1])
        return place.masked_fill(place == keep.shape[1], -1)
