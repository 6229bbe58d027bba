"""Cosine in a subspace that the anchor chooses."""

from torch import Tensor

from lightning_contrast.contrast.similarity import Embedding, Similarity, wide


class GatedCosine(Similarity):
    """``cos(g * a, g * b)`` with the anchor's gate ``g`` in [0, 1]^D; embeddings are ``(z, g)``, both ``[N, D]``.

    With ``g = 1`` it is cosine. In either direction the gate is that of the row being scored. Where nothing is left of a
    vector the similarity is 0.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
        >>> first = torch.tensor([[1.0, 0.0]])
        >>> round(GatedCosine().tile((a, first), (b, first)).item(), 4)
        1.0
    """

    bound = 1.0
    swappable = False

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, m]``.

        Raises:
            TypeError: for embeddings without gates.
        """
        if not isinstance(a, tuple) or not isinstance(b, tuple):
            raise TypeError("GatedCosine compares tuples (z, gate): the embeddings are single tensors.")
        (x, gate), y = a, b[0]
        dtype = wide(x, y, gate)
        x, y, square = x.to(dtype), y.to(dtype), gate.to(dtype).square()
        own = (x.square() * square).sum(1, keepdim=True)
        other, products = _rows(square, y.square()), _rows(square * x, y)
        return products / (own.clamp(min=1e-12) * other.clamp(min=1e-12)).sqrt()

    def transpose(self) -> Similarity:
        """Itself: it speaks of anchor and candidate by role."""
        return self


def _rows(a: Tensor, b: Tensor) -> Tensor:
    """``[n, D]`` against ``[m, D]``, or each against its own ``[n, m, D]``."""
    return a @ b.mT if b.dim() == 2 else (b @ a[:, :, None])[..., 0]
