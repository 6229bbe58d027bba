"""Negatives that are trained against the encoder (AdCo)."""

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins
from lightning_contrast.callbacks.nobody import nobodys
from lightning_contrast.callbacks.sample import hardest_of
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.gradient_reversal import reversed_gradient


class Adversaries(nn.Module):
    """``size`` trained vectors whose gradient is turned round: where the optimizer lowers the loss, they raise it.

    Args:
        size: >= 1.
        dim: their width, >= 1.
        scale: factor of their gradient, > 0.
        seed: of the random directions at which they start.
    """

    def __init__(self, size: int, dim: int, scale: float, seed: int) -> None:
        super().__init__()
        self.scale = scale
        start = torch.randn(size, dim, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(F.normalize(start, dim=-1))

    def forward(self) -> Tensor:
        """``[size, dim]``."""
        return reversed_gradient(self.weight, self.scale)


class AdversarialNegatives(ContrastCallback):
    r"""Further negatives for every anchor, trained by gradient ascent on the same loss (Hu et al. 2021, AdCo, eq. 3 to 7).

    :math:`\min_\theta \max_n L(\theta, n)` in one backward pass: the gradient of the vectors ``n`` is turned round, so the
    module's own optimizer ascends with them, in automatic optimisation, accumulation and any strategy. They are
    ``pl_module.extras[name]``: optimizer and checkpoint have them, and the module loads without this callback. With SGD
    ``scale`` is the ratio of their learning rate to the encoder's (100 in the paper); Adam does not feel it.

    Logs ``<name>/similarity``: of the hardest one, mean over some anchors.

    Args:
        size: number of vectors, >= 1 (65536 in the paper).
        scale: factor of their gradient, > 0.
        dim: width of the embeddings; ``None`` is the ``output_dim`` of predictor, head or encoder.
        seed: of the random directions at which they start.
        name: of the block, of the module in ``extras``, and in logs.

    Raises:
        ValueError: for values out of range; at set-up where the width is not known.
    """

    def __init__(
        self, size: int = 1024, scale: float = 1.0, dim: int | None = None, seed: int = 0, name: str = "adversarial"
    ) -> None:
        if size < 1 or (dim is not None and dim < 1):
            raise ValueError(f"size={size}, dim={dim}: must be at least 1 (dim may be None).")
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale={scale}: must be a finite number > 0; 1 leaves the gradient's length.")
        self.size, self.scale, self.dim, self.seed, self.name = size, float(scale), dim, seed, name

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Registers the vectors, before optimizers are made and checkpoints loaded."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        if self.name in pl_module.extras:
            return
        parts = (pl_module.predictor, pl_module.head, pl_module.encoder)
        width = self.dim or getattr(next(part for part in parts if part is not None), "output_dim", None)
        if width is None:
            raise ValueError(
                "AdversarialNegatives cannot tell the width of the embeddings before training: give dim=..., the length "
                "of one embedding."
            )
        pl_module.extras[self.name] = Adversaries(self.size, width, self.scale, self.seed)

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends the vectors."""
        first, anchors = contrast.candidates[0], contrast.anchors.first
        z = pl_module.extras[self.name]().to(anchors.dtype)
        if z.shape[1:] != anchors.shape[1:]:
            raise ValueError(
                f"AdversarialNegatives(name={self.name!r}) has vectors of {z.shape[1]} numbers, the anchors of "
                f"{contrast.name!r} have shape {list(anchors.shape[1:])}: give dim={anchors.shape[-1]}."
            )
        return contrast.append(Candidates(z, nobodys(first, z.shape[:1]), name=self.name, where="replicated"))

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Logs how hard they are."""
        if logs_now(trainer) and (hardest := hardest_of(contrast, self.name)) is not None:
            pl_module.log(f"{self.name}/similarity", hardest)
