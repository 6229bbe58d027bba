"""Figures of short lists: each query orders its own candidates."""

import torch
from torch import Tensor


@torch.no_grad()
def reranking_figures(score: Tensor, grade: Tensor, group: Tensor, k: int = 10) -> dict[str, Tensor]:
    """MAP over whole lists, MRR@k and nDCG@k, averaged over lists with a relevant candidate and one that is not.

    sentence-transformers' ``RerankingEvaluator``, with grades as linear gains. Candidates of equal score share their places as
    scikit-learn lets them (average precision at the last of them, gains averaged); to MRR relevant ones are behind, so that
    an encoder to which all is equal does not win.

    Args:
        score: of each candidate, [P], higher is better.
        grade: how relevant it is, [P]; relevant are those above 0.
        group: integers [P]; candidates of one list have the same.
        k: cut-off, at least 1.

    Returns:
        ``map``, ``mrr@k`` and ``ndcg@k``, 0-d float64 in [0, 1]; ``nan`` if no list has both kinds.

    Raises:
        ValueError: for shapes that differ, ``k < 1``, or numbers that are not finite.

    Example:
        >>> score, grade = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.0, 1.0, 0.0])
        >>> reranking_figures(score, grade, torch.zeros(3, dtype=torch.int64))["mrr@10"]
        tensor(0.5000, dtype=torch.float64)
    """
    if not score.shape == grade.shape == group.shape or score.ndim != 1:
        raise ValueError(
            f"score, grade and group need one entry a candidate, [P] each; got {list(score.shape)}, {list(grade.shape)} and "
            f"{list(group.shape)}."
        )
    if k < 1:
        raise ValueError(f"k={k}: must be at least 1.")
    for name, values in (("score", score), ("grade", grade)):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(
                f"{int((~torch.isfinite(values)).sum())} of {len(values)} entries of {name} are not finite."
            )
    score, grade = score.double(), grade.double().clamp(min=0)
    lists, group = group.unique(return_inverse=True)
    order = _by_group(group, score)
    score, grade, group = score[order], grade[order], group[order]
    hit, count = grade > 0, len(lists)
    new = torch.ones_like(hit)
    new[1:] = (group[1:] != group[:-1]) | (score[1:] != score[:-1])
    tie = new.cumsum(0) - 1  # runs of equal score within a list
    size = torch.bincount(tie)
    first = size.cumsum(0) - size
    owner = group[first]
    before, hits_before = first - _starts(group, count)[owner], _sum(hit.long(), group, count).cumsum(0)
    hits = _sum(hit.long(), tie, len(size))
    so_far = hits.cumsum(0) - (hits_before - _sum(hit.long(), group, count))[owner]
    relevant = _sum(hit.long(), group, count)
    precision = so_far.double() / (before + size)
    average = _sum(hits * precision, owner, count) / relevant.clamp(min=1)
    rank = torch.where(hits > 0, before + size - hits + 1, torch.iinfo(torch.int64).max)
    best = rank.new_full((count,), torch.iinfo(torch.int64).max).scatter_reduce(0, owner, rank, "amin")
    reciprocal = torch.where(best <= k, 1 / best.double(), 0.0)
    shared = _sum(grade, tie, len(size)) / size
    gained = _sum(shared[tie] * _discount(group, count, k), group, count)
    ideal = _sum(grade[_by_group(group, grade)] * _discount(group, count, k), group, count)
    counts = (relevant > 0) & (relevant < torch.bincount(group, minlength=count))
    found = {"map": average, f"mrr@{k}": reciprocal, f"ndcg@{k}": gained / ideal.clamp(min=1e-300)}
    return {name: value[counts].mean() for name, value in found.items()}


def _by_group(group: Tensor, value: Tensor) -> Tensor:
    """Order by group, and within one by falling value."""
    order = value.argsort(descending=True, stable=True)
    return order[group[order].argsort(stable=True)]


def _starts(group: Tensor, count: int) -> Tensor:
    sizes = torch.bincount(group, minlength=count)
    return sizes.cumsum(0) - sizes


def _sum(value: Tensor, into: Tensor, count: int) -> Tensor:
    return value.new_zeros(count).index_add(0, into, value)


def _discount(group: Tensor, count: int, k: int) -> Tensor:
    """Of each place of the ordered lists; 0 behind the first k."""
    rank = torch.arange(len(group), device=group.device) - _starts(group, count)[group] + 1
    return torch.where(rank <= k, 1 / (rank + 1).double().log2(), 0.0)
