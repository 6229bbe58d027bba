"""Candidates that are probably positives in disguise are taken out of the negatives."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_contrast.callbacks.by_index import TableLike, VectorsByIndex
from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins
from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.callbacks.teacher_embedding import TeacherEmbedding
from lightning_contrast.contrast import Contrast, Pair, Scores, pair_function
from lightning_contrast.functional.false_negatives import (
    absolute_limit,
    check_limits,
    quantile_limit,
    relative_limit,
    skip_limit,
)

Rule = Callable[[Pair], Tensor]


class FalseNegativeFilter(ContrastCallback):
    """Excludes negatives by who they are or how similar they are; positives are never excluded.

    Same items are no negatives anyway, by ``index``. Rules given in one filter apply in the order of the arguments (ids and
    labels first) or in that of ``order``, filters in the Trainer's order; later ones see what earlier ones left.
    Similarities are those of the objective (cosine: in [-1, 1]), before the temperature, or a teacher's; over all blocks
    and processes. Decisions have no gradient.

    Logs, from a sample of anchors, ``<name>/<rule>``: pairs an anchor that the rule removed, and ``<name>/emptied``: the
    share of anchors whose every negative was removed. Such an anchor keeps its positives; objectives that need a negative
    leave it out and count it.

    Args:
        same_label: exclude negatives of the anchor's ``label``; negative labels match nobody.
        absolute_margin: exclude where ``s > p - margin``, ``p`` the anchor's least similar positive, margin >= 0.
        relative_margin: exclude where ``s > p - |p| * margin``, which holds for negative ``p`` too, margin in [0, 1].
        max_score: exclude where ``s > max_score``.
        min_score: exclude where ``s < min_score``: negatives that teach nothing.
        quantile: exclude each anchor's most similar share of negatives, in (0, 1).
        skip: exclude each anchor's so many most similar negatives.
        blocks: names of the blocks of candidates it speaks of, and ranks among each other; ``None`` is all.
        name: in logs; two filters need two names.
        same: further keys of integer ids (a group, a duplicate's, a session's): exclude negatives of the anchor's; the
            rules are called ``same_<key>``.
        teacher: similarities are the cosines of these vectors ``[N, D]``, by the samples' ``index``: a tensor or a file
            (see :func:`~lightning_contrast.callbacks.by_index.table_by_index`). Pairs it does not know stay.
        teacher_key: the same from the payload: ``[N, D]`` with anchors and candidates, of whoever attached it before.
            While a ``TeacherEmbedding`` of that name has nothing to teach yet, nobody is excluded.
        order: the names of all rules given, in the order in which they apply.

    Raises:
        ValueError: for values out of range, without any rule, for an order that names other rules, or two teachers.
        FileNotFoundError: if the teacher's file is not there.
    """

    reads_vectors = False

    def __init__(
        self,
        same_label: bool = False,
        absolute_margin: float | None = None,
        relative_margin: float | None = None,
        max_score: float | None = None,
        min_score: float | None = None,
        quantile: float | None = None,
        skip: int = 0,
        blocks: Sequence[str] | None = None,
        name: str = "false_negatives",
        same: Sequence[str] = (),
        teacher: TableLike | None = None,
        teacher_key: str | None = None,
        order: Sequence[str] | None = None,
    ) -> None:
        check_limits(absolute_margin, relative_margin, max_score, min_score, quantile)
        if skip < 0:
            raise ValueError(f"skip={skip}: must be >= 0.")
        for argument, names in (("blocks", blocks), ("same", same), ("order", order)):
            if isinstance(names, str):
                raise ValueError(f"{argument}={names!r}: give a list of names.")
        if teacher is not None and teacher_key is not None:
            raise ValueError(f"teacher_key={teacher_key!r} beside teacher=...: give one of the two.")
        self.blocks, self.name = None if blocks is None else tuple(blocks), name
        self.teacher_key = teacher_key
        self.similarity: Rule = _own
        if teacher is not None:
            self.similarity = VectorsByIndex(teacher, f"FalseNegativeFilter(name={name!r}, teacher=...)")
        elif teacher_key is not None:
            self.similarity = lambda pair: _cosine(pair, teacher_key)
        s = self.similarity
        rules: dict[str, Rule] = {}
        for key in (*same, *(["label"] if same_label and "label" not in same else [])):
            rules[f"same_{key}"] = _negative_and(_same(key))
        if absolute_margin is not None:
            rules["absolute_margin"] = self._above(lambda x: absolute_limit(_lowest_positive(x, s), absolute_margin))
        if relative_margin is not None:
            rules["relative_margin"] = self._above(lambda x: relative_limit(_lowest_positive(x, s), relative_margin))
        if max_score is not None:
            rules["max_score"] = _negative_and(lambda pair: s(pair) > max_score)
        if min_score is not None:
            rules["min_score"] = _negative_and(lambda pair: s(pair) < min_score)
        if quantile is not None:
            rules["quantile"] = self._above(lambda x: quantile_limit(*self._negatives(x), quantile))
        if skip:
            rules["skip"] = self._above(lambda x: skip_limit(*self._negatives(x), skip))
        if not rules:
            raise ValueError("FalseNegativeFilter has no rule: give same_label, a margin, a score, quantile or skip.")
        if order is not None and sorted(order) != sorted(rules):
            raise ValueError(f"order={list(order)}: must name each of the rules given once: {list(rules)}.")
        self.rules = rules if order is None else {key: rules[key] for key in order}
        self.requires = tuple(dict.fromkeys([*same, *(["label"] if same_label else [])]))  # type: ignore[misc]

    def _above(self, limit: Callable[[Scores], Tensor]) -> Rule:
        """Negatives more similar than a limit of their anchor."""

        @pair_function(statistic=limit)
        def rule(pair: Pair) -> Tensor:
            assert pair.statistic is not None
            return (pair.target <= 0) & (self.similarity(pair) > pair.statistic)

        return rule

    def _negatives(self, scores: Scores) -> tuple[Tensor, Tensor]:
        """Similarities ``[n, M]``, and which of them are known ones of negatives in the blocks it speaks of."""
        s = scores.read(self.similarity).detach()
        negative = scores.exists & (scores.target <= 0) & ~s.isnan()
        if self.blocks is not None:
            negative = negative & scores.read(
                lambda p: torch.full(p.shape, p.block in (self.blocks or ()), device=s.device)
            )
        return s, negative

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuses two filters of one name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Adds the rules."""
        if self.teacher_key is not None and self._waits(trainer):
            return contrast
        # A rule may speak of a block that is not there yet (a queue before its first entries).
        on = (
            None if self.blocks is None else tuple(n for n in self.blocks if n in {b.name for b in contrast.candidates})
        )
        for rule in self.rules.values() if on is None or on else ():
            contrast = contrast.exclude(rule, on=on)
        return contrast

    def _waits(self, trainer: Any) -> bool:
        teachers = (
            c
            for c in getattr(trainer, "callbacks", ())
            if isinstance(c, TeacherEmbedding) and c.name == self.teacher_key
        )
        return any(not c.attaches for c in teachers)

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Logs what the rules removed."""
        if not logs_now(trainer) or contrast.exchange == "ring":
            return
        removed = self.removed(some_anchors(contrast, 64, 2**17))
        if removed:
            pl_module.log_dict({f"{self.name}/{key}": value for key, value in removed.items()})

    @torch.no_grad()
    def removed(self, contrast: Contrast) -> dict[str, Tensor]:
        """Pairs an anchor that each rule removed from those that earlier rules left, 0-d each; the share ``emptied``."""
        places = {id(rule.function): i for i, rule in enumerate(contrast.rules)}
        mine = {key: places[id(function)] for key, function in self.rules.items() if id(function) in places}
        if not mine:
            return {}

        def upto(n: int) -> Scores:
            return Scores(contrast, contrast.rules[:n])

        out = {key: (upto(i).exists & ~upto(i + 1).exists).sum(1).float().mean() for key, i in mine.items()}
        had, has = (upto(n).count("negatives") > 0 for n in (min(mine.values()), max(mine.values()) + 1))
        return {**out, "emptied": (had & ~has).float().mean()}


def _own(pair: Pair) -> Tensor:
    return pair.similarity


def _same(key: str) -> Rule:
    return lambda pair: pair.same(key)


def _cosine(pair: Pair, key: str) -> Tensor:
    """By vectors in the payload."""
    a, b = getattr(pair.anchor, key), getattr(pair.candidate, key)
    lengths = a.norm(dim=-1) * b.norm(dim=-1)
    return pair.dot(key) / lengths.clamp(min=torch.finfo(lengths.dtype).tiny)


def _negative_and(condition: Rule) -> Rule:
    def rule(pair: Pair) -> Tensor:
        return (pair.target <= 0) & condition(pair)

    return rule


def _lowest_positive(scores: Scores, similarity: Rule) -> Tensor:
    """The anchor's least similar positive, ``[n]``; inf, which excludes nobody, without one."""
    s = scores.read(similarity).detach()
    positive = scores.exists & (scores.target > 0) & ~s.isnan()
    return s.masked_fill(~positive, torch.inf).amin(1)
