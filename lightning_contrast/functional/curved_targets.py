"""How near utterances of one sequence are to be: targets that fall with their distance."""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F


def curved_targets(window: int) -> list[float]:
    """``(W - i) / W`` of the utterance ``i`` after the first, ``i = 1 .. W - 1``.

    Erker, Schaffer and Spanakis, "Imagination is All You Need! Curved Contrastive Learning" (ACL 2023), as their code has it.

    Raises:
        ValueError: for a window below 2.

    Example:
        >>> curved_targets(5)
        [0.8, 0.6, 0.4, 0.2]
    """
    if window < 2:
        raise ValueError(f"window={window}: must be at least 2, an utterance and another.")
    return [(window - i) / window for i in range(1, window)]


def mixed_targets(window: int) -> dict[tuple[int, int], float]:
    """Of two context utterances ``a < b`` of a window, whose last utterance is asked for: the sum of their
    :func:`curved_targets`, rescaled to [0.2, 1].

    Erker et al., "Triple-Encoders: Representations That Fire Together, Wire Together" (ACL 2024), as their code has it.

    Raises:
        ValueError: for a window below 4, which has one pair or none.

    Example:
        >>> {pair: round(value, 2) for pair, value in mixed_targets(5).items() if pair[1] == 3}
        {(0, 3): 0.6, (1, 3): 0.8, (2, 3): 1.0}
    """
    if window < 4:
        raise ValueError(f"window={window}: must be at least 4, two pairs of utterances and the one that is asked for.")
    near = curved_targets(window)[::-1]  # of the context's utterances in their order: the last is the nearest
    sums = {(a, b): near[a] + near[b] for a, b in itertools.combinations(range(window - 1), 2)}
    low, high = min(sums.values()), max(sums.values())
    return {pair: 0.2 + 0.8 * (value - low) / (high - low) for pair, value in sums.items()}


def context_scores(context: Tensor, candidates: Tensor, mixed: bool = False) -> Tensor:
    """How well candidates continue a context: the mean of the cosines with its utterances, or with all means of two.

    Args:
        context: embeddings ``[K, D]``, each of one utterance: a new one needs one new row alone.
        candidates: ``[M, D]``.
        mixed: whether pairs of rows, averaged as they are, are compared (the sum of their cosines, as triple-encoders have
            it; the row itself where there is but one).

    Returns:
        ``[M]``; in [-1, 1] if not `mixed`.

    Example:
        >>> context_scores(torch.eye(2), torch.tensor([[1.0, 1.0]]), mixed=True)
        tensor([1.])
    """
    unit = F.normalize(candidates, dim=-1)
    if not mixed:
        return (F.normalize(context, dim=-1) @ unit.mT).mean(0)
    pairs = torch.combinations(torch.arange(len(context), device=context.device))
    means = context[pairs].mean(1) if len(pairs) else context
    return (F.normalize(means, dim=-1) @ unit.mT).sum(0)
