"""What ContrastiveModule logs, and what the twin hook is shown."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair, Result
from lightning_contrast.encoders import Momentum
from lightning_contrast.temperatures import PerHead

if TYPE_CHECKING:
    from lightning_contrast.modules.contrastive import ContrastiveModule


def logs_now(module: "ContrastiveModule") -> bool:
    """Whether the Trainer logs at this step; the first step counts, so that short runs leave something."""
    trainer: Any = module._trainer
    if trainer is None:
        return False
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    return step == 0 or (step + 1) % max(1, trainer.log_every_n_steps) == 0


@torch.no_grad()
def temperature_of(contrast: Contrast) -> Tensor | float:
    """One number for logs: the temperature, or the mean of those of anchors, or of some pairs.

    Args:
        contrast: exchanged and prepared.
    """
    t = contrast.temperature
    if isinstance(t, str):
        return contrast.anchors.get(t).detach().mean()
    if isinstance(t, Tensor):
        return t.detach().mean()
    if isinstance(t, (int, float)):
        return t
    block, anchors = contrast.candidates[0], contrast.anchors
    groups = anchors.rows // max(1, block.first.shape[0]) if block.where == "private" else 1
    rows = min(64 // groups + 1, max(1, anchors.rows // max(1, groups)))  # private candidates go with whole groups
    few = contrast.replace(anchors=anchors.map(lambda x: x[: rows * groups]))
    tau = Pair(few, block.map(lambda x: x[:rows] if block.where == "private" else x[:1024])).temperature
    return tau.detach().mean()


def check_finite(loss: Tensor, module: "ContrastiveModule") -> None:
    """Called when the loss is logged.

    Raises:
        ValueError: if it is not finite, naming step and objective.
    """
    if not bool(torch.isfinite(loss)):
        raise ValueError(
            f"{type(module.objective).__name__} is {float(loss)} at step {module.trainer.global_step}: lower the "
            "learning rate or raise the temperature, clip gradients, or look at the inputs of this step."
        )


def seen(result: Result) -> Contrast:
    """The exchanged contrast without gradients, per-anchor figures in the anchors' payload."""
    contrast = result.contrast
    rows = contrast.anchors.rows
    figures = {k: v for k, v in result.figures.items() if v.shape[:1] == (rows,)}
    kept = {id(b): b.detach() for b in (contrast.anchors, *contrast.candidates)}
    return contrast.replace(
        anchors=kept[id(contrast.anchors)].attach(**figures),
        candidates=tuple(kept[id(b)] for b in contrast.candidates),
    )


def training_figures(module: "ContrastiveModule", results: list[tuple[Contrast, Result]]) -> dict[str, Any]:
    """What is logged beside the loss: ``train/left_out``, ``train/candidates``, ``train/temperature``, ``train/momentum``."""
    figures: dict[str, Any] = {
        "train/left_out": torch.stack([r.left_out for _, r in results]).float().mean(),
        "train/candidates": float(sum(b.rows for b in results[0][1].contrast.candidates)),
    }
    temperatures = {r.contrast.name: temperature_of(r.contrast) for _, r in results if r.contrast.anchors.rows}
    if temperatures:
        figures["train/temperature"] = sum(temperatures.values()) / len(temperatures)
    if isinstance(module.objective.temperature, PerHead):
        figures |= {f"train/temperature/{name}": tau for name, tau in temperatures.items()}
    if isinstance(module.key_encoder, Momentum):
        steps = module.trainer.estimated_stepping_batches
        figures["train/momentum"] = module.key_encoder.at(module.trainer.global_step, steps)
    return figures
