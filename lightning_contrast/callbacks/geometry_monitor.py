"""What the embeddings look like while they are trained, and a warning when they collapse."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now
from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.contrast import Candidates, Contrast, Pair, Scores, Similarity
from lightning_contrast.contrast.similarity import Embedding
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.spectrum import effective_rank
from lightning_contrast.regularisers import Regularised

COLLAPSED = 0.98  # squared length of the mean unit vector, which is the mean cosine of two rows
ENTRIES = 2**15  # scores to look at; figures of the embeddings themselves take the whole sample
PATIENCE = 3  # looks in a row; an untrained network maps everything to nearly one point as well


class AllAlike(Similarity):
    """Every candidate is as similar as any other: what the objective then is, is its chance level."""

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """Zeros ``[n, m]``."""
        a, b = (t[0] if isinstance(t, tuple) else t for t in (a, b))
        return torch.zeros(a.shape[0], b.shape[0] if b.dim() == a.dim() else b.shape[1], device=a.device)


class GeometryMonitor(ContrastCallback):
    """Logs, from a sample of the first direction's anchors on this process, at logging steps:

    - ``geometry/alignment``: mean squared distance of an anchor and its partner on the sphere, in [0, 4], low is good;
    - ``geometry/uniformity``: log of the mean Gaussian potential of two anchors, in [-8, 0], low is good (both: Wang and
      Isola 2020);
    - ``geometry/effective_rank``: directions that carry the embeddings, in [1, D]: exponential of the entropy of the
      covariance's eigenvalues;
    - ``geometry/positive``, ``geometry/hardest_negative``: mean similarity of the positives, and of each anchor's most
      similar negative;
    - ``geometry/negatives``: negatives an anchor, of all blocks and processes, after masks and rules;
    - ``geometry/chance``: the loss if all candidates were equally similar. A loss near it has learned nothing. Not for
      objectives that are no mean over anchors.

    Warns once, with the likely cause, when three looks in a row find all embeddings in nearly one point, or on one line.

    Args:
        sample: anchors to look at, > 1; those that are scored are fewer when there are many candidates.
        every_n_steps: look at the first logging step after so many steps; ``None`` is every logging step.

    Raises:
        ValueError: for values out of range.
    """

    reads_vectors = False

    def __init__(self, sample: int = 256, every_n_steps: int | None = None) -> None:
        if sample < 2:
            raise ValueError(f"sample={sample}: at least 2 anchors are needed (256 are usual).")
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}: must be at least 1, or None for every logging step.")
        self.sample, self.every_n_steps = sample, every_n_steps
        self._looked = False
        self._last: int | None = None
        self._collapsed = 0
        self._warned = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The next contrast is the first of its step."""
        self._looked = False

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Looks and logs."""
        if self._looked or not logs_now(trainer):
            return
        step = trainer.global_step
        if self._last is not None and self.every_n_steps is not None and step - self._last < self.every_n_steps:
            return
        self._looked, self._last = True, step
        figures = self.figures(contrast, pl_module.objective)
        pl_module.log_dict({f"geometry/{key}": value for key, value in figures.items() if key != "cosine"})
        if not self._warned:
            self._watch(trainer, pl_module, contrast, {key: float(value) for key, value in figures.items()})

    @torch.no_grad()
    def figures(self, contrast: Contrast, objective: Any) -> dict[str, Tensor]:
        """The figures of a scored contrast, 0-d each; ``cosine`` is the mean cosine of two anchors."""
        if isinstance(objective, Regularised):  # its terms compare whole batches
            objective = objective.objective
        contrast = contrast.map_own(_joined) if objective.reduction == "batch" else contrast
        columns = max(1, sum(b.rows for b in contrast.candidates))
        some = some_anchors(contrast, min(self.sample, max(16, ENTRIES // columns)))
        out = _of_scores(some)
        if objective.reduction == "rows":
            alike = some.replace(similarity=AllAlike(), exchange="none")
            out["chance"] = objective.evaluate(alike).loss
        z = contrast.anchors.z
        if isinstance(z, Tensor) and z.dim() == 2 and len(z) > 1:
            x = z[: self.sample].float()
            out["uniformity"] = uniformity(x)
            out["effective_rank"] = effective_rank(x).float()
            out["cosine"] = F.normalize(x, dim=1).mean(0).square().sum()
        return out

    def _watch(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, figures: dict[str, float]) -> None:
        cosine, rank = figures.get("cosine", 0.0), figures.get("effective_rank", torch.inf)
        width = contrast.anchors.first.shape[-1]
        point, line = cosine > COLLAPSED, rank < 1.5 and width > 2
        self._collapsed = self._collapsed + 1 if (point or line) and contrast.anchors.rows >= 8 else 0
        if self._collapsed < PATIENCE:
            return
        self._warned = True
        what = f"are nearly one point (mean cosine {cosine:.3f})" if point else f"lie on one line (rank {rank:.1f})"
        rank_zero_warn(
            f"The embeddings have collapsed by step {trainer.global_step}: they {what} of {width} dimensions. "
            f"Likely cause: {_cause(pl_module, contrast, figures)}"
        )


def _joined(block: Candidates) -> Candidates:
    """Several codes of an item side by side: objectives of whole batches read them apart, a similarity cannot."""
    codes = block.leaves
    if len(codes) < 2 or any(code.dim() != 2 or not code.is_floating_point() for code in codes):
        return block
    return block.replace(z=torch.cat([code.float() for code in codes], 1))


def _of_scores(contrast: Contrast) -> dict[str, Tensor]:
    scores = Scores(contrast)
    negative = scores.exists & (scores.target <= 0)
    positive = scores.exists & (scores.target > 0)
    out = {"negatives": negative.sum(1).float().mean()}
    if bool(positive.any()):
        out["positive"] = scores.similarity[positive].mean()
    hardest = scores.similarity.masked_fill(~negative, -torch.inf).amax(1)
    if bool(negative.any()):
        out["hardest_negative"] = hardest[negative.any(1)].mean()
    partner = _distance_of_partners(contrast)
    return out if partner is None else {**out, "alignment": partner}


def _distance_of_partners(contrast: Contrast) -> Tensor | None:
    """Mean squared distance on the sphere of anchors and the first partner in their first block."""
    block, a = contrast.candidates[0], contrast.anchors.z
    if not isinstance(a, Tensor) or not isinstance(block.z, Tensor) or a.dim() != 2:
        return None
    pair = Pair(contrast, block)
    partner = pair.same("position") & ~pair.same("view")
    has = partner.any(1)
    column = partner.to(torch.uint8).argmax(1)
    group = torch.arange(len(a), device=a.device) // max(1, len(a) // max(1, block.z.shape[0]))
    b = block.z[column] if block.where != "private" else block.z[group, column]
    if not bool(has.any()):
        return None
    return alignment(a[has].float(), b[has].float())


def _cause(pl_module: Any, contrast: Contrast, figures: dict[str, float]) -> str:
    if figures["negatives"] == 0 and "negative" not in pl_module.objective.needs and pl_module.predictor is None:
        return (
            "anchors have no negatives, so nothing pushes them apart: use in_batch=True or a MemoryQueue, a larger batch, "
            "or a predictor with a momentum encoder."
        )
    temperature = contrast.temperature
    if isinstance(temperature, (int, float)) and temperature > 1:
        return f"temperature={temperature} makes all candidates count alike: 0.05 to 0.5 are usual with cosine."
    if figures["negatives"] < 8:
        return f"only {figures['negatives']:.0f} negatives an anchor: use a larger batch or a MemoryQueue."
    return (
        "a learning rate that is too high (warm it up, clip gradients), views that share nothing, or inputs that are all "
        "alike after normalisation."
    )
