"""Two encoders side by side in one embedding: the first of the anchor meets the second of the candidate."""

from torch import Tensor

from lightning_contrast.contrast.similarity import Embedding, Similarity


class AcrossHalves(Similarity):
    """``u_i . v_j`` of embeddings ``[u, v]``: unshared encoders (:class:`~lightning_contrast.encoders.SideBySide`) compared as two
    towers, while whoever evaluates finds both in one vector.

    Not the same with anchor and candidate exchanged, and no product of the embeddings as they are, so that tiles are
    computed one by one.

    Raises:
        ValueError: in use for an odd width.

    Example:
        >>> import torch
        >>> AcrossHalves().tile(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).item()      # 1 x 4
        4.0
    """

    swappable = False

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``a: [n, 2D]`` against ``b: [m, 2D]``, ``[n, m]``."""
        if not isinstance(a, tuple) and not isinstance(b, tuple):
            half, odd = divmod(a.shape[-1], 2)
            if odd:
                raise ValueError(f"AcrossHalves: embeddings of width {a.shape[-1]} have no halves; make it even.")
            a, b = a[..., :half], b[..., half:]
        return super().tile(a, b)
