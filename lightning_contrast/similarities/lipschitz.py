"""A bilinear critic that does not stretch."""

import torch
from torch import Tensor

from lightning_contrast.contrast.similarity import Cosine, Embedding
from lightning_contrast.similarities.bilinear import Bilinear


class LipschitzBilinear(Bilinear):
    """``a^T W b`` of unit vectors with ``W`` divided by its largest singular value where that is above 1.

    1-Lipschitz in each argument, as the critic of the dual Wasserstein distance must be (Chen et al., "Wasserstein
    Contrastive Representation Distillation", CVPR 2021; they normalise spectrally as Miyato et al. 2018 do, by power
    iteration, which needs a state; here the singular value is exact). ``W`` starts as the identity: cosine. A temperature
    scales the constant to ``1 / tau``.

    Args:
        dim: width of the embeddings.

    Raises:
        ValueError: if ``dim < 1``, or embeddings have another width.

    Example:
        >>> import torch
        >>> critic = LipschitzBilinear(2)
        >>> _ = critic.weight.data.mul_(5)
        >>> critic.tile(critic.prepare(torch.tensor([[2.0, 0.0]])), critic.prepare(torch.tensor([[3.0, 0.0]]))).item()
        1.0
    """

    bound = 1.0

    def prepare(self, z: Embedding) -> Embedding:
        """Rows to unit length."""
        return Cosine().prepare(z)

    def matrix(self) -> Tensor:
        """``W / max(1, ||W||_2)``."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return self.weight / torch.linalg.matrix_norm(self.weight, 2).clamp(min=1)
