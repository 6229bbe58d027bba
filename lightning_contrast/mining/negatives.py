"""From embeddings to a table of hard negatives, a block of queries at a time."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_contrast.functional.nearest import check_embeddings
from lightning_contrast.mining.rules import Rules
from lightning_contrast.mining.search import Search, search_over

QUERY_BLOCK = 2048
"""Queries whose neighbours, and pairs of equal ids, are held at once; more where more threads share the search."""
RESCORE_NUMBERS = 2**22
"""Numbers of teacher vectors that are held at once."""


class Items(NamedTuple):
    """Queries, or the corpus.

    Args:
        z: ``[n, D]``, of unit norm.
        ids: the sample of each row, int64 ``[n]``.
        label: int64 ``[n]``, for ``same_label``.
        key: int64 ``[n]``, for ``same_key``.
        teacher: ``[n, T]``, of unit norm: the rules on scores read its similarities, not those of ``z``.
    """

    z: Tensor
    ids: Tensor
    label: Tensor | None = None
    key: Tensor | None = None
    teacher: Tensor | None = None

    def part(self, rows: slice) -> "Items":
        """Some rows."""
        return Items(*(None if column is None else column[rows] for column in self))  # type: ignore[arg-type]


class Mined(NamedTuple):
    """What was mined for each query."""

    rows: Tensor
    """Rows of the corpus, int64 ``[n, num_negatives]``, from the hardest to the easiest; -1 where there is none."""
    scores: Tensor
    """Their similarities ``[n, num_negatives]``; -inf where there is none."""
    removed: Tensor
    """How many pairs each rule removed, int64 ``[n, rules]``, in the order of ``Rules.names``. Equal keys and labels are
    counted in the whole corpus, others in the range."""


@torch.no_grad()
def mine(
    queries: Items,
    corpus: Items,
    positive: Tensor,
    rules: Rules,
    search: Search | None = None,
    step: int = 0,
    check: Callable[[], None] | None = None,
) -> Mined:
    """Each query's hard negatives.

    A query of which the rules leave nobody has only empty places: nothing is made up in their stead.

    Args:
        queries: for whom.
        corpus: among whom.
        positive: similarity of each query's own pair, ``[n]``; by the teacher, if there is one.
        rules: which.
        search: over ``corpus.z``; ``None`` is the exact one.
        step: of the draws.
        check: called now and then; an error it raises ends the mining.

    Raises:
        ValueError: for shapes that do not fit together, non-finite embeddings, a rule that lacks its payload, or fewer
            samples than are wanted.

    Example:
        >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]]), dim=1)
        >>> items = Items(z, torch.arange(3), label=torch.tensor([0, 0, 1]))
        >>> mine(items, items, torch.ones(3), Rules(1)).rows.tolist()
        [[1], [0], [1]]
        >>> mine(items, items, torch.ones(3), Rules(1, same_label=True)).rows.tolist()
        [[2], [2], [1]]

    """
    _check(queries, corpus, positive, rules)
    search = search_over(corpus.z) if search is None else search
    same = _same(queries, corpus, rules)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    size = QUERY_BLOCK * max(1, torch.get_num_threads() // 2)
    for start in range(0, len(queries.z), size):
        if check is not None:
            check()
        rows = slice(start, start + size)
        block = queries.part(rows)
        here = {name: (ids[rows], theirs) for name, (ids, theirs) in same.items()}
        found = search(block.z, min(rules.depth, len(corpus.z)), list(here.values()))
        score = found.scores if block.teacher is None else _rescored(block, corpus, found.indices)
        keep, removed = rules.kept(score, found.indices >= 0, positive[rows])
        if len(here) > 1:
            items = _equal(*here.pop("index"))
            removed |= {name: (_equal(*ids) - items).clamp(min=0) for name, ids in here.items()}
        place = rules.chosen(keep, score, block.ids, step)
        none = place < 0
        count = [removed[name] for name in rules.names]
        columns.append(
            (
                found.indices.gather(1, place.clamp(min=0)).masked_fill(none, -1),
                score.gather(1, place.clamp(min=0)).masked_fill(none, -torch.inf),
                torch.stack(count, 1) if count else place.new_zeros(len(place), 0),
            )
        )
    return Mined(*(torch.cat(parts) for parts in zip(*columns, strict=True)))


def _same(queries: Items, corpus: Items, rules: Rules) -> dict[str, tuple[Tensor, Tensor]]:
    """Ids that must differ, by rule."""
    same = {"index": (queries.ids, corpus.ids)}
    if rules.same_key is not None and queries.key is not None and corpus.key is not None:
        same["same_key"] = (queries.key, corpus.key)
    if rules.same_label and queries.label is not None and corpus.label is not None:
        same["same_label"] = (queries.label, corpus.label)
    return same


def _equal(ids: Tensor, theirs: Tensor) -> Tensor:
    """How many rows of the corpus have each query's id, int64 ``[n]``; none for negative ids."""
    ordered = theirs.sort().values
    count = torch.searchsorted(ordered, ids.contiguous(), right=True) - torch.searchsorted(ordered, ids.contiguous())
    return count.masked_fill(ids < 0, 0)


def _rescored(block: Items, corpus: Items, rows: Tensor) -> Tensor:
    """The teacher's similarities ``[n, k]`` of the neighbours found."""
    assert block.teacher is not None
    assert corpus.teacher is not None
    score = block.teacher.new_empty(rows.shape)
    size = max(1, RESCORE_NUMBERS // max(1, rows.shape[1] * corpus.teacher.shape[1]))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        theirs = corpus.teacher[rows[part].clamp(min=0)]
        score[part] = torch.bmm(theirs, block.teacher[part, :, None])[..., 0]
    return score.masked_fill_(rows < 0, -torch.inf)


def _check(queries: Items, corpus: Items, positive: Tensor, rules: Rules) -> None:
    check_embeddings("queries.z", queries.z)
    check_embeddings("corpus.z", corpus.z, width=queries.z.shape[1])
    for name, items in (("queries", queries), ("corpus", corpus)):
        for field, column in zip(Items._fields, items, strict=True):
            if column is not None and len(column) != len(items.z):
                raise ValueError(f"{name}.{field} has {len(column)} rows, {name}.z has {len(items.z)}.")
        for z in (items.z, items.teacher):
            if z is not None and not bool(torch.isfinite(z.sum())) and not bool(torch.isfinite(z).all()):
                bad = int((~torch.isfinite(z).all(1)).nonzero()[0])
                raise ValueError(f"{name}: the embedding of row {bad} is not finite; has the training diverged?")
        for rule, wanted, column, what in (
            ("same_label=True", rules.same_label, items.label, "label"),
            (f"same_key={rules.same_key!r}", rules.same_key is not None, items.key, str(rules.same_key)),
        ):
            if wanted and column is None:
                raise ValueError(f"{rule}: the samples have no {what!r}.")
    if (queries.teacher is None) != (corpus.teacher is None):
        raise ValueError("a teacher's vectors are needed of queries and corpus; only one of them has them.")
    if positive.shape != queries.z.shape[:1]:
        raise ValueError(f"positive has shape {list(positive.shape)}, not [{len(queries.z)}].")
    check_size(len(corpus.z), rules)


def check_size(samples: int, rules: Rules) -> None:
    """Whether a corpus can hold what is wanted of it, beside the query itself.

    Raises:
        ValueError: with both numbers.
    """
    if samples <= rules.range_min + rules.num_negatives:
        raise ValueError(
            f"num_negatives={rules.num_negatives}, range_min={rules.range_min}: there are only {samples} samples, and a "
            f"query needs {rules.range_min + rules.num_negatives} others; ask for fewer."
        )
