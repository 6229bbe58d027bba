"""Whether the embeddings have collapsed, and why."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lightning_contrast.contrast import Contrast
from lightning_contrast.data.batch import batch_inputs

COLLAPSED = 0.98  # squared length of the mean unit vector, which is the mean cosine of two rows
PATIENCE = 3  # looks in a row; an untrained network maps everything to nearly one point as well
ALIKE = 0.01  # inputs that differ by less than this share of their size
GREW = 4.0  # times their length at the first look: what weights do at a learning rate that is too high
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class CollapseWatch:
    """Warns once, when three looks in a row find all embeddings at zero, in nearly one point, or on one line."""

    def __init__(self) -> None:
        self.warned = False
        self._collapsed = 0
        self._first: tuple[int, float] | None = None  # step and length of the weights

    def look(
        self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, figures: Mapping[str, float], batch: Any
    ) -> None:
        """At a scored contrast, exchanged and prepared; after backward, before the optimizer's step.

        Args:
            trainer: the Trainer.
            pl_module: the module.
            contrast: what was scored.
            figures: the monitor's, with ``cosine`` and ``length``, mean cosine and mean length of the rows.
            batch: of this step.
        """
        if self.warned:
            return
        if self._first is None:
            self._first = trainer.global_step, length_of(pl_module)
        found = state_of(figures, contrast.anchors.first.shape[-1])
        self._collapsed = self._collapsed + 1 if found and contrast.anchors.rows >= 8 else 0
        if self._collapsed < PATIENCE:
            return
        self.warned = True
        rank_zero_warn(
            f"The embeddings have collapsed by step {trainer.global_step}: they {found}. Likely cause: "
            f"{self._cause(trainer, pl_module, contrast, figures, batch)}"
        )

    def _cause(
        self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, figures: Mapping[str, float], batch: Any
    ) -> str:
        """What explains most comes first."""
        spread = spread_of(batch)
        if spread is not None and spread < ALIKE:
            return (
                f"the inputs of a batch are all alike (they differ by {100 * spread:.2g} % of their size): look at how they "
                "are loaded, cropped and normalised."
            )
        alone = figures["negatives"] == 0 and "negative" not in pl_module.objective.needs
        if alone and pl_module.objective.reduction == "rows":
            if pl_module.predictor is None:
                return (
                    "anchors have no negatives, so nothing pushes them apart: use in_batch=True or a MemoryQueue, a larger "
                    "batch, or a predictor with a momentum encoder."
                )
            if not any(isinstance(layer, nn.modules.batchnorm._NormBase) for layer in pl_module.modules()):
                return (
                    "there are neither negatives nor BatchNorm: BYOL and SimSiam need BatchNorm in head and predictor "
                    "(batch_norm: true)."
                )
        temperature = contrast.temperature
        if isinstance(temperature, (int, float)) and temperature > 1:
            return f"temperature={temperature} makes all candidates count alike: 0.05 to 0.5 are usual with cosine."
        weights = self._of_weights(trainer, pl_module)
        if weights:
            return weights
        if not alone and figures["negatives"] < 8:
            return f"only {figures['negatives']:.0f} negatives an anchor: use a larger batch or a MemoryQueue."
        deep = not any(isinstance(layer, NORMS) for layer in pl_module.modules())
        return (
            "a learning rate that is too high (warm it up, clip gradients), views that share nothing"
            + (", or layers without normalisation (BatchNorm, LayerNorm) between them" if deep else "")
            + "."
        )

    def _of_weights(self, trainer: pl.Trainer, pl_module: Any) -> str | None:
        """What the length of the weights says of optimizer and schedule, if anything."""
        step, before = self._first or (0, 0.0)
        now, rates = length_of(pl_module), [g["lr"] for o in trainer.optimizers for g in o.param_groups]
        rate = f"learning rate {max(rates):.3g}" if rates else "learning rate"
        if not before or trainer.global_step <= step:
            return None
        if now > GREW * before or now != now:
            return (
                f"the {rate} is too high: the weights are {now / before:.3g} times as long as at step {step}. Lower it, warm "
                "it up, clip gradients."
            )
        if now < before / GREW:
            return (
                f"weights have shrunk to {now / before:.2g} of their length at step {step}: weight decay is too strong for the "
                f"{rate}."
            )
        if abs(now / before - 1) < 1e-6:
            return (
                f"the weights have not moved since step {step}, and what they were gives this: {rate}. Raise it, look whether "
                "the encoder is frozen, or whether its layers are normalised."
            )
        return None


def state_of(figures: Mapping[str, float], width: int) -> str | None:
    """How the embeddings have collapsed, ``None`` if they have not.

    Args:
        figures: ``cosine``, ``length`` and ``effective_rank``, where they are known.
        width: of the embeddings.
    """
    cosine, rank = figures.get("cosine", 0.0), figures.get("effective_rank", torch.inf)
    if figures.get("length", 1.0) == 0:
        return f"are all zero in all {width} dimensions"
    if cosine > COLLAPSED:
        return f"are nearly one point (mean cosine {cosine:.3f}) of {width} dimensions"
    if rank < 1.5 and width > 2:
        return f"lie on one line (rank {rank:.1f}) of {width} dimensions"
    return None


@torch.no_grad()
def length_of(pl_module: nn.Module) -> float:
    """Length of all trained matrices and kernels of this process together; biases and norms hardly ever decay."""
    parameters: list[Tensor] = [p for p in pl_module.parameters() if p.requires_grad and p.dim() > 1 and p.numel()]
    if not parameters:
        return 0.0
    return float(torch.stack([n.float() for n in torch._foreach_norm(parameters)]).norm())


@torch.no_grad()
def spread_of(batch: Any) -> float | None:
    """How far the samples of a batch lie from their mean, as a share of their size; ``None`` if they are no tensors.

    Of integers, such as token ids, 0 or 1: whether all rows are equal.
    """
    if not isinstance(batch, Mapping):
        return None
    leaves = [t for t in tree_leaves(batch_inputs(batch)) if isinstance(t, Tensor) and t.dim() > 1 and len(t) > 1]
    if not leaves:
        return None
    if not leaves[0].is_floating_point():
        return float(any(bool((t != t[:1]).any()) for t in leaves))
    x = leaves[0].flatten(1).float()
    size = float(x.norm())
    return float((x - x.mean(0)).norm()) / size if size else 0.0
