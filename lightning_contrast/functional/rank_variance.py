"""How much the rank of one thing depends on the language in which it is asked for."""

import torch
from torch import Tensor


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
    normalize = torch.nn.functional.normalize
    documents, out = normalize(corpus, dim=1), []
    row = torch.arange(len(corpus), device=corpus.device)
    for part, own in zip(normalize(query, dim=1).split(1024), match.split(1024), strict=True):
        score = part @ documents.T
        wanted = score.gather(1, own[:, None])
        before = (score > wanted) | ((score == wanted) & (row < own[:, None]))
        out.append(1 + before.sum(1))
    return torch.cat(out) if out else match.clone()
