"""What the embeddings look like while they are trained, and a warning when they collapse."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now
from lightning_contrast.callbacks.collapse import CollapseWatch
from lightning_contrast.callbacks.sample import as_vectors, some_anchors
from lightning_contrast.contrast import Contrast, Pair, Scores, Similarity
from lightning_contrast.contrast.similarity import Embedding
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.gradient_share import row_shares
from lightning_contrast.functional.spectrum import effective_rank
from lightning_contrast.regularisers import Regularised

ENTRIES = 2**15  # scores to look at; figures of the embeddings themselves take the whole sample
UNLOGGED = ("cosine", "length")
FRACTIONS = {"gradient_hardest_1": 0.01, "gradient_hardest_10": 0.1}


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
      objectives that are no mean over anchors;
    - ``geometry/seconds``: what the look itself took;
    - with ``gradient_share``, ``geometry/gradient_hardest_1``, ``geometry/gradient_hardest_10`` and
      ``geometry/effective_negatives``: the share of InfoNCE's gradient on negatives that the hardest 1 % and 10 % of each
      anchor's negatives have, and how many negatives effectively count (exponential of the shares' entropy; Wang and Liu
      2021), log-weights included.

    Warns once, with the likely cause, when three looks in a row find all embeddings at zero, in nearly one point, or on one
    line. The training is left as it is: random states, layers, gradients.

    Args:
        sample: anchors to look at, > 1; those that are scored are fewer when there are many candidates.
        every_n_steps: look at the first logging step after so many steps; ``None`` is every logging step.
        gradient_share: whether to log what share of the gradient the hardest negatives have.

    Raises:
        ValueError: for values out of range.
    """

    reads_vectors = False

    def __init__(self, sample: int = 256, every_n_steps: int | None = None, gradient_share: bool = False) -> None:
        if sample < 2:
            raise ValueError(f"sample={sample}: at least 2 anchors are needed (256 are usual).")
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps={every_n_steps}: must be at least 1, or None for every logging step.")
        self.sample, self.every_n_steps, self.gradient_share = sample, every_n_steps, gradient_share
        self._looked = False
        self._last: int | None = None
        self._watch = CollapseWatch()
        self._batch: Any = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The next contrast is the first of its step."""
        self._looked, self._batch = False, batch

    def on_train_batch_end(self, *args: Any) -> None:
        """Keeps no batch alive."""
        self._batch = None

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Looks and logs."""
        if self._looked or not logs_now(trainer):
            return
        step = trainer.global_step
        if self._last is not None and self.every_n_steps is not None and step - self._last < self.every_n_steps:
            return
        self._looked, self._last = True, step
        began = time.perf_counter()
        figures = {key: float(value) for key, value in self.figures(contrast, pl_module.objective).items()}
        self._watch.look(trainer, pl_module, contrast, figures, self._batch)
        figures["seconds"] = time.perf_counter() - began
        pl_module.log_dict({f"geometry/{key}": value for key, value in figures.items() if key not in UNLOGGED})

    @torch.no_grad()
    def figures(self, contrast: Contrast, objective: Any) -> dict[str, Tensor]:
        """The figures of a scored contrast, 0-d each.

        ``cosine`` is the mean cosine of two anchors, ``length`` their mean length.
        """
        if isinstance(objective, Regularised):  # its terms compare whole batches
            objective = objective.objective
        contrast = as_vectors(contrast)
        columns = max(1, sum(b.rows for b in contrast.candidates))
        some = some_anchors(contrast, min(self.sample, max(16, ENTRIES // columns)))
        out = _of_scores(some, self.gradient_share)
        if objective.reduction == "rows":
            alike = some.replace(similarity=AllAlike(), exchange="none")
            with nullcontext() if objective.form == "softmax" else _as_it_was(objective):
                out["chance"] = objective.evaluate(alike).loss
        z = contrast.anchors.z
        if isinstance(z, Tensor) and z.dim() == 2 and len(z) > 1:
            x = z[: self.sample].float()
            out["uniformity"] = uniformity(x)
            out["effective_rank"] = effective_rank(x).float()
            out["cosine"] = F.normalize(x, dim=1).mean(0).square().sum()
            out["length"] = x.norm(dim=1).mean()
        return out


@contextmanager
def _as_it_was(objective: nn.Module) -> Iterator[None]:
    """Objectives may keep running figures or draw random numbers when they are asked."""
    kept = [buffer.clone() for buffer in objective.buffers()]
    with isolated_random_state(0):
        yield
    for buffer, value in zip(objective.buffers(), kept, strict=True):
        buffer.copy_(value)


def _of_scores(contrast: Contrast, gradient_share: bool) -> dict[str, Tensor]:
    scores = Scores(contrast)
    negative = scores.exists & (scores.target <= 0)
    positive = scores.exists & (scores.target > 0)
    out = {"negatives": negative.sum(1).float().mean()}
    if bool(positive.any()):
        out["positive"] = scores.similarity[positive].mean()
    hardest = scores.similarity.masked_fill(~negative, -torch.inf).amax(1)
    if bool(negative.any()):
        out["hardest_negative"] = hardest[negative.any(1)].mean()
    if gradient_share and bool(negative.any()):
        weighted = scores.logit if scores.log_weight is None else scores.logit + scores.log_weight
        hardest, effective, _ = row_shares(
            weighted.masked_fill(~negative, -torch.inf)[negative.any(1)], list(FRACTIONS.values())
        )
        out |= dict(zip(FRACTIONS, hardest.mean(0), strict=True))
        out["effective_negatives"] = effective.mean()
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
