"""What a mined table is like, in numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.mining.table import MinedTable


def mined_figures(
    rows: Tensor,
    removed: Tensor,
    names: Sequence[str],
    label: Tensor | None = None,
    before: Tensor | None = None,
) -> dict[str, float]:
    """Shares in [0, 1], and pairs a query that each rule removed.

    Args:
        rows: ``[n, H]`` of each query's mined samples, -1 where there is none.
        removed: ``[n, rules]``.
        names: of the rules.
        label: ``[n]`` of queries and corpus alike; negative where unknown.
        before: the table that was in this place.

    Returns:
        ``missing``: places that stayed empty; ``empty``: queries without any; ``churn``: mined ids that are new;
        ``removed/<rule>``; with labels ``same_label``: of the mined samples whose label is known, those with the query's,
        which are false negatives.
    """
    there = rows >= 0
    figures = {"missing": float((~there).float().mean()), "empty": float((~there.any(1)).float().mean()), "churn": 1.0}
    for name, count in zip(names, removed.T, strict=True):
        figures[f"removed/{name}"] = float(count.double().mean())
    if label is not None:
        theirs = label[rows.clamp(min=0)]
        known = there & (label[:, None] >= 0) & (theirs >= 0)
        figures["same_label"] = float((known & (theirs == label[:, None])).sum() / known.sum().clamp(min=1))
    if before is not None:
        kept = (rows[:, :, None] == before.to(rows.device)[:, None]).any(2) & there
        figures["churn"] = 1 - float(kept.sum() / there.sum().clamp(min=1))
    return figures


def as_table(index: Tensor, positive: Tensor, rows: Tensor, scores: Tensor) -> MinedTable:
    """The table of a data set that was searched among itself: rows become ids.

    Args:
        index: ids ``[n]`` of queries and corpus alike.
        positive: similarity of each query's own pair, ``[n]``; its id is the query's.
        rows: ``[n, H]`` of the mined samples, -1 where there is none.
        scores: ``[n, H]``.
    """
    negative = torch.where(rows >= 0, index[rows.clamp(min=0)], -1)
    columns = (index, index, positive.float(), negative, scores.float())
    return MinedTable(*(column.cpu().numpy() for column in columns))
