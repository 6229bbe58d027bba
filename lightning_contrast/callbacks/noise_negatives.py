"""Negatives out of nothing: Gaussian noise, perhaps made harder by a few steps of ascent (DCLR)."""

import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins
from lightning_contrast.callbacks.nobody import nobodys
from lightning_contrast.callbacks.sample import hardest_of
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.objectives import InfoNCE


def gaussian_rows(count: int, dim: int, seed: int, step: int, device: torch.device) -> Tensor:
    """Standard normal ``[count, dim]``, a function of (seed, step): equal on all processes, and after a resume."""
    u = counter_uniform(torch.arange(count, device=device), 2 * dim, seed=seed, epoch=step).double()
    return torch.sqrt(-2 * torch.log1p(-u[:, :dim])) * torch.cos(2 * math.pi * u[:, dim:])


class NoiseNegatives(ContrastCallback):
    r"""Random directions as further negatives of every anchor, drawn anew each step (Zhou et al. 2022, DCLR, section 3.2).

    :math:`n \sim N(0, I)`, then ``ascent`` times :math:`n \leftarrow n + \beta g / \|g\|`, each row by its own length, with
    :math:`g` the gradient of InfoNCE on what is compared so far (all processes): towards where the sphere is too empty.
    Then they are fixed; no gradient of the loss passes through the ascent. With none they spread embeddings evenly: far
    from all, each adds about :math:`e^0`. In evaluation the noise stays as drawn.

    Logs ``<name>/similarity``: of the hardest one, mean over some anchors.

    Args:
        count: rows of noise, >= 1; the paper: 1 to 5 times the batch.
        ascent: steps, >= 0.
        beta: length of a step, > 0, where a row's own length is about the root of its width.
        seed: of the noise.
        name: of the block and in logs.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self, count: int = 256, ascent: int = 0, beta: float = 1e-3, seed: int = 0, name: str = "noise"
    ) -> None:
        if count < 1 or ascent < 0:
            raise ValueError(f"count={count}, ascent={ascent}: need count >= 1 and ascent >= 0.")
        if not 0 < beta < math.inf:
            raise ValueError(f"beta={beta}: must be a finite number > 0 (0.001 in the paper).")
        self.count, self.ascent, self.beta, self.seed, self.name = count, ascent, float(beta), seed, name

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuses a second block of this name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends the noise."""
        z = contrast.anchors.first
        if isinstance(contrast.anchors.z, tuple):
            raise ValueError("NoiseNegatives makes single embeddings, but these are tuples (tokens and mask).")
        noise = gaussian_rows(self.count, z.shape[1], self.seed, trainer.global_step, z.device).to(z.dtype)
        if self.ascent and trainer.training:
            noise = self.ascended(contrast, noise)
        return contrast.append(self._block(contrast, noise))

    def _block(self, contrast: Contrast, noise: Tensor) -> Candidates:
        return Candidates(noise, nobodys(contrast.candidates[0], noise.shape[:1]), self.name, where="replicated")

    def ascended(self, contrast: Contrast, noise: Tensor) -> Tensor:
        """The noise ``[count, D]`` after its steps uphill; a constant."""
        anchors = contrast.anchors.detach()
        blocks = tuple(anchors if b is contrast.anchors else b.detach() for b in contrast.candidates)
        t = contrast.temperature
        fixed = contrast.replace(
            anchors=anchors, candidates=blocks, temperature=t.detach() if isinstance(t, Tensor) else t
        )
        infonce = InfoNCE(1.0)
        for _ in range(self.ascent):
            noise = noise.detach().requires_grad_()
            with torch.enable_grad():
                loss = infonce.evaluate(fixed.append(self._block(fixed, noise))).loss
                (g,) = torch.autograd.grad(loss, noise)
            if world_size() > 1 and contrast.exchange != "none":
                g = all_sum(g)  # each process has its own anchors, but all need the same noise
            noise = noise.detach() + self.beta * F.normalize(g, dim=1)
        return noise

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Logs how hard they are."""
        if logs_now(trainer) and (hardest := hardest_of(contrast, self.name)) is not None:
            pl_module.log(f"{self.name}/similarity", hardest)
