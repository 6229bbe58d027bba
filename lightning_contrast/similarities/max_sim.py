"""Late interaction: each token finds its best match in the other text."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Cosine
from lightning_contrast.contrast.similarity import Embedding, wide


class MaxSim(Cosine):
    """Mean over a text's tokens of their largest cosine with a token of the other; embeddings are ``(tokens, mask)``.

    With ``both_ways`` the mean of the two directions, the relaxed word mover's similarity of CLRCMD (Lee et al., "Toward
    Interpretable Semantic Textual Similarity via Optimal Transport-based Contrastive Sentence Learning", ACL 2022, eq. 6);
    else of the anchor's tokens alone, ColBERT's (Khattab and Zaharia 2020) over their number. ``tokens`` are
    ``[N, L, D]``, ``mask`` ``[N, L]``, not 0 where a token is real: padding changes nothing, and a text without tokens has
    similarity 0. Memory grows with ``anchors x candidates x L^2``. It is no product: nothing can be searched by it alone.

    Args:
        both_ways: whether both sides look for their best match.

    Example:
        >>> tokens, mask = torch.eye(2)[None], torch.ones(1, 2)
        >>> MaxSim().tile((tokens, mask), (tokens, mask)).item()
        1.0
    """

    def __init__(self, both_ways: bool = True) -> None:
        super().__init__()
        self.both_ways = self.swappable = both_ways

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, m]``.

        Raises:
            TypeError: for embeddings without a mask.
        """
        if not isinstance(a, tuple) or not isinstance(b, tuple):
            raise TypeError(
                "MaxSim compares tuples (tokens [N, L, D], mask [N, L]): the embeddings are single tensors."
            )
        (x, here), (y, there) = a, b
        dtype = wide(x, y)
        private = y.dim() > x.dim()
        s = torch.einsum("nad,nmbd->nmab" if private else "nad,mbd->nmab", x.to(dtype), y.to(dtype))
        rows, columns = (here != 0)[:, None, :], (there != 0) if private else (there != 0)[None]
        real = rows[..., None] & columns[:, :, None, :]
        found = _best(s, real)
        return (found + _best(s.mT, real.mT)) / 2 if self.both_ways else found


def _best(s: Tensor, real: Tensor) -> Tensor:
    """Mean over rows of the largest entry, of real ones; 0 without any. ``[n, m, a, b] -> [n, m]``."""
    some = real.any(-1)
    best = s.masked_fill(~real, -torch.inf).amax(-1).masked_fill(~some, 0.0)
    return best.sum(-1) / some.sum(-1).clamp(min=1)
