"""The matrix anchors x candidates, read only through reductions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakMethod

import torch
from torch import Tensor

from lightning_contrast.contrast.pair import Pair, Rule
from lightning_contrast.contrast.similarity import Similarity
from lightning_contrast.contrast.target import Paired, same_item

if TYPE_CHECKING:
    from lightning_contrast.contrast.contrast import Contrast

Over = Literal["all", "positives", "negatives"]
What = Literal["logit", "similarity", "target", "exists", "log_weight"]


@dataclass(frozen=True)
class Row:
    """What ``map_rows`` hands to its function: the row tile ``[n, M]`` over all blocks, in their order."""

    logit: Tensor
    similarity: Tensor
    target: Tensor
    exists: Tensor
    log_weight: Tensor | None

    @property
    def positive(self) -> Tensor:
        """Pairs that exist and have a positive target."""
        return self.exists & (self.target > 0)

    @property
    def negative(self) -> Tensor:
        """Pairs that exist and are no positives."""
        return self.exists & (self.target <= 0)


class Scores:
    """All scores of the anchors of one (exchanged) contrast, usually a row tile of a larger one.

    *positives* are pairs that exist and have a target > 0, *negatives* those that exist and have none, over all blocks.
    Every reduction returns one value an anchor, ``[n]``.
    """

    def __init__(self, contrast: "Contrast", rules: Sequence[Rule] | None = None) -> None:
        self.contrast = contrast
        self.rules = tuple(contrast.rules if rules is None else rules)
        self._statistics: dict[tuple[str, int], Tensor] = {}

    @property
    def anchor(self) -> Any:
        """Payload of these rows: ``scores.anchor.label`` is ``[n, ...]``."""
        return _Rows(self.contrast)

    @property
    def shape(self) -> tuple[int, int]:
        """Anchors, candidates over all blocks."""
        return self.contrast.anchors.rows, sum(b.rows for b in self.contrast.candidates)

    # The tile -----------------------------------------------------------------------------------------------------

    @cached_property
    def _pairs(self) -> list[Pair]:
        contrast = self.contrast.replace(rules=tuple(r for r in self.rules if r.kind == "shift"))
        # Weak: in a circle of references a tile would live on until the garbage collector comes by.
        mine = WeakMethod(self._statistic)

        def statistic(rule: Rule) -> Tensor | None:
            read = mine()
            return None if read is None else read(rule)

        return [Pair(contrast, block, statistic) for block in self.contrast.candidates]

    def _statistic(self, rule: Rule) -> Tensor | None:
        """The row statistic a rule declared, over all blocks, ``[n, 1]``; it sees the rules listed before its own."""
        if rule.statistic is None:
            return None
        key = (rule.kind, id(rule.function))
        if key not in self._statistics:
            before = [i for i, r in enumerate(self.rules) if r is rule]
            contrast = self.contrast if rule.kind != "target" else self.contrast.replace(target=Paired())
            value = rule.statistic(Scores(contrast, self.rules[: before[0]] if before else ()))
            self._statistics[key] = value.reshape(-1, 1)
        return self._statistics[key]

    def _read(self, of: Callable[[Pair], Tensor]) -> Tensor:
        parts = [of(pair) for pair in self._pairs]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _combined(self, kind: str) -> list[Tensor | None]:
        """All rules of a kind, per block: masks are joined, weights added."""
        total: list[Tensor | None] = [None] * len(self._pairs)
        for rule in self.rules:
            for i, pair in enumerate(self._pairs):
                if rule.kind == kind and rule.applies_to(pair.block):
                    value, old = pair.apply(rule), total[i]
                    total[i] = value if old is None else (old | value if kind == "exclude" else old + value)
        return total

    @cached_property
    def exists(self) -> Tensor:
        """Pairs that are neither the same item nor excluded by a rule. Bool ``[n, M]``."""
        gone = self._combined("exclude")
        parts = []
        for pair, more in zip(self._pairs, gone, strict=True):
            out = pair.apply(Rule("exclude", same_item))
            parts.append(out if more is None else out | more)
        return ~(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1))

    @cached_property
    def log_weight(self) -> Tensor | None:
        """The sum of the log-weights, ``None`` where nobody gave any. ``[n, M]``."""
        if not any(rule.kind == "log_weight" for rule in self.rules):
            return None
        parts = self._combined("log_weight")
        filled = [torch.zeros_like(p.logit) if w is None else w for p, w in zip(self._pairs, parts, strict=True)]
        return torch.cat(filled, dim=1).to(self.logit.dtype)

    @cached_property
    def logit(self) -> Tensor:
        """``similarity / temperature + shifts``. ``[n, M]``, float32 or wider."""
        return self._read(lambda pair: pair.logit)

    @cached_property
    def similarity(self) -> Tensor:
        """Before temperature and shifts. ``[n, M]``."""
        return self._read(lambda pair: pair.similarity)

    @cached_property
    def target(self) -> Tensor:
        """How much each pair counts as positive; 0 where it does not exist. ``[n, M]``."""
        out = self._read(lambda pair: pair.target) * self.exists
        return out.to(self.logit.dtype) if out.dtype != self.logit.dtype else out

    def has(self, needs: frozenset[str]) -> Tensor:
        """Anchors that have what an objective needs; a negative without weight is none. Bool ``[n]``."""
        ok = torch.ones(self.shape[0], dtype=torch.bool, device=self.contrast.anchors.first.device)
        if "positive" in needs:
            ok = ok & (self.count("positives") > 0)
        if "negative" in needs:
            ok = ok & (self._weighted("negatives").any(1))
        if needs and self.log_weight is not None:
            ok = ok & self._weighted("all").any(1)
        return ok

    def _weighted(self, over: Over) -> Tensor:
        """Those pairs, without what the log-weights took out of denominators."""
        mask = self._mask(over)
        return mask if self.log_weight is None else mask & (self.log_weight > -torch.inf)

    def patch(self, valid: Tensor) -> None:
        """Put harmless numbers where an anchor is left out, so that neither value nor gradient can become NaN.

        The row then has one positive and otherwise negatives, all with logit 0, and no path to any embedding.
        """
        keep = valid[:, None]
        first = torch.zeros_like(self.exists)
        first[:, :1] = True
        exists, target = self.exists | ~keep, torch.where(keep, self.target, first.to(self.target.dtype))
        logit = torch.where(keep, self.logit, 0.0)
        weight = None if self.log_weight is None else torch.where(keep, self.log_weight, 0.0)
        similarity = torch.where(keep, self.similarity, 0.0)
        self.__dict__.update(exists=exists, target=target, logit=logit, log_weight=weight, similarity=similarity)

    def _mask(self, over: Over) -> Tensor:
        if over == "all":
            return self.exists
        if over == "positives":
            return self.target > 0
        if over == "negatives":
            return self.exists & (self.target <= 0)
        raise ValueError(f"over={over!r}: use 'all', 'positives' or 'negatives'.")

    # Reductions ---------------------------------------------------------------------------------------------------

    def logsumexp(self, over: Over = "all", scale: float | Tensor = 1.0, weighted: bool = True) -> Tensor:
        """``log sum exp(scale * logit + log_weight)``; ``-inf`` for an anchor without such a pair.

        Args:
            over: which pairs.
            scale: a number, 0-d, or ``[n]``.
            weighted: whether log-weights count; ``False`` in a numerator.
        """
        mask, x = self._weighted(over) if weighted else self._mask(over), self.logit
        if isinstance(scale, Tensor) or scale != 1:
            x = x * (scale[:, None] if isinstance(scale, Tensor) and scale.dim() else scale)
        if weighted and self.log_weight is not None:
            x = x + self.log_weight
        return torch.logsumexp(x.masked_fill(~mask, -torch.inf), dim=1)

    def target_sum(self) -> Tensor:
        """``sum_j target_ij logit_ij``."""
        return (self.target * self.logit.masked_fill(self.target <= 0, 0.0)).sum(1)

    def target_mass(self) -> Tensor:
        """``sum_j target_ij``."""
        return self.target.sum(1)

    def sum(self, f: Callable[..., Tensor], *per_row: Tensor, over: Over = "all") -> Tensor:
        """``sum_j f(logit_ij, ...)``, ``f`` elementwise; values per anchor ``[n]`` are handed to it as ``[n, 1]``."""
        mask = self._mask(over)
        value = f(self.logit.masked_fill(~mask, 0.0), *(t.reshape(-1, 1) for t in per_row))
        return value.masked_fill(~mask, 0.0).sum(1)

    def expect(self, f: Callable[[Tensor], Tensor], over: Over = "all") -> Tensor:
        """Expectation of ``f(logit)`` under the softmax over those pairs, log-weights included; 0 over no pairs."""
        mask = self._weighted(over)
        x = self.logit if self.log_weight is None else self.logit + self.log_weight
        p = torch.softmax(x.masked_fill(~mask, -torch.inf), dim=1).masked_fill(~mask, 0.0)
        return (p * f(self.logit.masked_fill(~mask, 0.0))).sum(1)

    def count(self, over: Over = "all") -> Tensor:
        """How many pairs."""
        return self._mask(over).sum(1)

    def topk(self, k: int, over: Over = "negatives") -> "torch.return_types.topk":
        """The ``k`` largest logits, ``[n, min(k, M)]``, and their columns counted over all blocks; ``-inf`` fills up."""
        if k < 1:
            raise ValueError(f"topk: k={k}, must be at least 1.")
        return self.logit.masked_fill(~self._mask(over), -torch.inf).topk(min(k, self.shape[1]), dim=1)

    def map_rows(self, f: Callable[..., Tensor], *per_row: Tensor) -> Tensor:
        """``f(row, ...)`` for what is no reduction: any differentiable function of the row tile that returns ``[n]``."""
        row = Row(self.logit, self.similarity, self.target, self.exists, self.log_weight)
        return f(row, *(t.reshape(-1, 1) for t in per_row))

    def read(self, f: Callable[[Pair], Tensor]) -> Tensor:
        """Any pair function over all blocks, in their order: ``scores.read(lambda p: p.same("view"))``. ``[n, M]``."""
        return self._read(lambda pair: pair.apply(Rule("shift", f)))

    def under(self, similarity: Similarity) -> "Scores":
        """The same pairs, targets and weights, scored by another similarity of the same prepared embeddings."""
        other = Scores(self.contrast.replace(similarity=similarity), self.rules)
        other.__dict__.update(exists=self.exists, target=self.target, log_weight=self.log_weight)
        return other

    def dense(self, what: What = "logit") -> Tensor:
        """The tile itself, ``[n, M]``; of a whole contrast that is the matrix nobody should build. Absent pairs: -inf."""
        if what == "logit":
            return self.logit.masked_fill(~self.exists, -torch.inf)
        if what not in get_args(What):
            raise ValueError(f"what={what!r}: use one of {', '.join(map(repr, get_args(What)))}.")
        out = getattr(self, what)
        return torch.zeros_like(self.logit) if out is None else out


class _Rows:
    """Payload of the anchors, by attribute."""

    def __init__(self, contrast: "Contrast") -> None:
        self._contrast = contrast

    def __getattr__(self, key: str) -> Tensor:
        return self._contrast.anchors.get(key)
