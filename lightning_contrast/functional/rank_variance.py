"""How much the rank of one thing depends on the language in which it is asked for."""

import torch
from torch import Tensor

QUERIES, DOCUMENTS = 1024, 8192  # rows and columns of the one tile of scores that exists at a time


def mean_rank_variance(rank: Tensor) -> Tensor:
    """Mean rank variance of one-to-K retrieval (Nie et al., KDD 2024): ``mean_j mean_k (r_jk - mean_k r_jk)^2``.

    Args:
        rank: of instance j's match when asked for in language k, from 1 (or 0), [N, K].

    Returns:
        0-d float64, at least 0; 0 where all languages agree.

    Raises:
        ValueError: for another shape, or nothing in it.

    Example:
        >>> mean_rank_variance(torch.tensor([[1, 3, 2]]))
        tensor(0.6667, dtype=torch.float64)

    """
    if rank.ndim != 2 or not rank.numel():
        raise ValueError(f"rank must be [N, K], one column a language, and not empty; got {list(rank.shape)}.")
    return rank.double().var(1, correction=0).mean()


@torch.no_grad()
def ranks_of_match(query: Tensor, corpus: Tensor, match: Tensor) -> Tensor:
    """Rank of each query's own document among all by cosine, from 1; equal scores rank by corpus row.

    Args:
        query: [Q, D].
        corpus: [M, D].
        match: row of the corpus that belongs to each query, int64 [Q].

    Returns:
        int64 [Q].

    Raises:
        ValueError: for a row that the corpus does not have.

    Example:
        >>> corpus = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> ranks_of_match(torch.tensor([[1.0, 0.1], [1.0, 0.1]]), corpus, torch.tensor([0, 1]))
        tensor([1, 3])

    """
    if len(match) and not 0 <= int(match.min()) <= int(match.max()) < len(corpus):
        raise ValueError(f"match has rows from {int(match.min())} to {int(match.max())}; the corpus has {len(corpus)}.")
    normalize, out = torch.nn.functional.normalize, []
    documents = normalize(corpus, dim=1)
    starts = range(0, len(documents), DOCUMENTS)
    for part, own in zip(normalize(query, dim=1).split(QUERIES), match.split(QUERIES), strict=True):
        wanted, before = part.new_zeros(len(part)), torch.zeros_like(own)
        for start in starts:  # twice, so that a document's score is the same number both times
            score = part @ documents[start : start + DOCUMENTS].T
            here = ((own >= start) & (own < start + score.shape[1])).nonzero()[:, 0]
            wanted[here] = score[here, own[here] - start]
        for start in starts:
            score = part @ documents[start : start + DOCUMENTS].T
            row = torch.arange(start, start + score.shape[1], device=score.device)
            better = score > wanted[:, None]
            better |= (score == wanted[:, None]) & (row < own[:, None])
            before += better.sum(1)
        out.append(1 + before)
    return torch.cat(out) if out else match.clone()
