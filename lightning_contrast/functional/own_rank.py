"""Where each query's own document stands among all."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 1024


class OwnRank(NamedTuple):
    """Of each query."""

    rank: Tensor
    """1 + how many documents are more similar than its own, int64 ``[n]``."""
    similarity: Tensor
    """Cosine of query and own document, ``[n]``; 0 where one of them is zero."""


def own_rank(query: Tensor, document: Tensor, own: Tensor) -> OwnRank:
    """Ranks and cosines of queries' own documents, a block of queries at a time.

    Args:
        query: ``[n, D]``.
        document: ``[m, D]``, each different document once.
        own: row of each query's document, int64 ``[n]``.

    Raises:
        ValueError: for vectors that are not finite, or of different widths.

    Example:
        >>> own_rank(torch.eye(2), torch.tensor([[1.0, 0.1], [0.6, 0.8]]), torch.tensor([0, 0])).rank.tolist()
        [1, 2]
    """
    if query.dim() != 2 or document.dim() != 2 or query.shape[1] != document.shape[1]:
        raise ValueError(f"query {list(query.shape)} and document {list(document.shape)}: must be [n, D] and [m, D].")
    for name, z in (("query", query), ("document", document)):
        if not bool(torch.isfinite(z).all()):
            raise ValueError(f"{name}: row {int((~torch.isfinite(z).all(1)).nonzero()[0])} is not finite.")
    one, two = F.normalize(query, dim=1), F.normalize(document, dim=1)
    ranks, similarities = [], []
    for start in range(0, len(one), BLOCK):
        scores = one[start : start + BLOCK] @ two.T
        mine = scores.gather(1, own[start : start + BLOCK, None])
        ranks.append((scores > mine).sum(1) + 1)
        similarities.append(mine[:, 0])
    return OwnRank(torch.cat(ranks), torch.cat(similarities))
