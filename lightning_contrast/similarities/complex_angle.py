"""How far two complex vectors are turned against each other."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Cosine
from lightning_contrast.contrast.similarity import Embedding, wide


class ComplexAngle(Cosine):
    """AnglE's: ``|sum(Re w + Im w)|`` of the quotient ``w`` of two vectors read as complex ones, real halves first.

    (Li and Li, "AnglE-optimized Text Embeddings", 2023, section 3.) For ``x = (a, b)`` and ``y = (c, d)`` of unit length
    it is ``|a.c + b.d + b.c - a.d|``, in ``[0, sqrt(2)]``; not symmetric. With ``CoSENT`` the loss of sentence-transformers'
    ``AnglELoss``. It is no product: the final embeddings are compared by cosine.

    Raises:
        ValueError: in use for vectors of odd width.

    Example:
        >>> x = torch.tensor([[1.0, 0.0]])
        >>> ComplexAngle().tile(x, x).item()
        1.0
    """

    bound = 2**0.5
    swappable = False

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, m]``."""
        if isinstance(a, tuple) or isinstance(b, tuple) or a.shape[-1] % 2:
            raise ValueError("ComplexAngle reads one vector of even width as halves, real and imaginary.")
        dtype = wide(a, b)
        c, d = b.to(dtype).chunk(2, dim=-1)
        turned = torch.cat([c - d, d + c], -1)
        a = a.to(dtype)
        return (a @ turned.mT if b.dim() == 2 else (turned @ a[:, :, None])[..., 0]).abs()
