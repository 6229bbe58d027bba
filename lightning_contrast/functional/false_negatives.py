r"""Which similarities are those of a positive in disguise: one limit a rule, for pairs of a step and for mined lists.

A *limit* is the similarity that a negative may have at most; what lies above it (``s > limit``) is taken for a false
negative. The margins are those of NV-Retriever (Moreira et al. 2024, section 3.2: TopK-MarginPos, TopK-PercPos), with a
relative form that is right for negative positives too. Rank rules read a matrix of negatives.
"""

import torch
from torch import Tensor


def absolute_limit(positive: Tensor, margin: float) -> Tensor:
    r""":math:`p - m`: a negative must lie so far below its positive.

    Args:
        positive: similarities of positives, any shape; inf where there is none: no limit.
        margin: >= 0, in units of the similarity.
    """
    return positive - margin


def relative_limit(positive: Tensor, margin: float) -> Tensor:
    r""":math:`p - |p| m`: at most so large a share of its positive; ``0.05`` is "95 percent of the positive".

    The usual :math:`p (1 - m)` rises above a negative :math:`p`; this form stays below it.

    Args:
        positive: similarities of positives, any shape; inf where there is none: no limit.
        margin: in [0, 1].

    Example:
        >>> relative_limit(torch.tensor([0.8, -0.2]), 0.5)
        tensor([ 0.4000, -0.3000])

    """
    return (positive - positive.abs() * margin).masked_fill(positive == torch.inf, torch.inf)


def quantile_limit(similarity: Tensor, negative: Tensor, share: float) -> Tensor:
    """The similarity above which ``floor(share * negatives)`` negatives of the row lie (fewer among equals), ``[n]``.

    Args:
        similarity: ``[n, m]``.
        negative: bool ``[n, m]``: what counts.
        share: in (0, 1).
    """
    place = (negative.sum(1).double() * share).long().clamp(max=similarity.shape[1] - 1)
    return _falling(similarity, negative).values.gather(1, place[:, None])[:, 0]


def skip_limit(similarity: Tensor, negative: Tensor, skip: int) -> Tensor:
    """The ``skip + 1``-th largest similarity of the row's negatives, ``[n]``; -inf where there are no more.

    Args:
        similarity: ``[n, m]``.
        negative: bool ``[n, m]``: what counts.
        skip: >= 0.
    """
    if skip >= similarity.shape[1]:
        return similarity.new_full(similarity.shape[:1], -torch.inf)
    return similarity.masked_fill(~negative, -torch.inf).topk(skip + 1, dim=1).values[:, -1]


def _falling(similarity: Tensor, negative: Tensor) -> torch.return_types.sort:
    return similarity.masked_fill(~negative, -torch.inf).sort(dim=1, descending=True)


def check_limits(
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    quantile: float | None = None,
) -> None:
    """Whether the rules' numbers make sense; ``None`` is a rule that is not wanted.

    Raises:
        ValueError: naming the number.
    """
    if absolute_margin is not None and not 0 <= absolute_margin < float("inf"):
        raise ValueError(f"absolute_margin={absolute_margin}: must be >= 0.")
    if relative_margin is not None and not 0 <= relative_margin <= 1:
        raise ValueError(f"relative_margin={relative_margin}: must lie in [0, 1]; 0.05 is usual.")
    for name, value in (("max_score", max_score), ("min_score", min_score)):
        if value is not None and value != value:
            raise ValueError(f"{name}={value}: must be a number.")
    if max_score is not None and min_score is not None and not min_score < max_score:
        raise ValueError(f"min_score={min_score} must be less than max_score={max_score}: nothing would be left.")
    if quantile is not None and not 0 < quantile < 1:
        raise ValueError(f"quantile={quantile}: must lie in (0, 1); 0.01 excludes the most similar hundredth.")
