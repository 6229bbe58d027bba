"""Positives moved apart, queue entries mixed with each other (feature transformation of MoCo)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now
from lightning_contrast.callbacks.keys import STORED
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.functional.counter_random import counter_uniform, hash_integers
from lightning_contrast.functional.extrapolation import beta_quantile, extrapolated


class FeatureTransformation(ContrastCallback):
    r"""Harder positives by extrapolation, other negatives by interpolation (Zhu et al. 2021, eq. 4 to 7).

    Each pair becomes :math:`\lambda q + (1 - \lambda) k` and :math:`\lambda k + (1 - \lambda) q`,
    :math:`\lambda - 1 \sim Beta(\alpha_p, \alpha_p)`; each entry of the source block :math:`\mu n_j + (1 - \mu) n_{\pi(j)}`,
    :math:`\mu \sim Beta(\alpha_n, \alpha_n)`, :math:`\pi` a permutation. Rows are prepared by the similarity (unit length
    under cosine) before, and left as they come after; keys are constants. Memories store the keys as they were. One
    :math:`\lambda` and :math:`\mu` a step, or of every coordinate; draws are a function of seed, step and sample index, so
    they do not depend on the number of processes.

    Logs ``<name>/positive`` (mean similarity of the pairs as scored), ``<name>/negative`` and ``<name>/negative_variance``
    (of the source's entries as scored): the paper's score distributions.

    Args:
        positive: ``alpha_p`` > 0; ``None`` leaves pairs alone.
        negative: ``alpha_n`` > 0; ``None`` leaves the source alone.
        interpolate: the control of the paper: :math:`\lambda` in (0, 1), pairs move together.
        elementwise: a :math:`\lambda` and :math:`\mu` of every coordinate.
        renormalise: pairs to unit length again; the authors' code does not by default.
        source: block whose entries are mixed; the callback that appends it must stand before this one.
        seed: of the draws.
        name: in logs.

    Raises:
        ValueError: for values out of range; at set-up when no callback before this one supplies the source; in the first
            step for a contrast that is not of pairs.
    """

    def __init__(
        self,
        positive: float | None = 2.0,
        negative: float | None = 1.6,
        interpolate: bool = False,
        elementwise: bool = False,
        renormalise: bool = False,
        source: str = "queue",
        seed: int = 0,
        name: str = "transformed",
    ) -> None:
        for key, value in (("positive", positive), ("negative", negative)):
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{key}={value}: must be a finite number > 0, or None to leave them as they are.")
        self.positive, self.negative, self.interpolate = positive, negative, interpolate
        self.elementwise, self.renormalise, self.source = elementwise, renormalise, source
        self.seed, self.name = seed, name

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Looks for the source."""
        super().setup(trainer, pl_module, stage)
        before = trainer.callbacks[: trainer.callbacks.index(self)]
        if self.negative is not None and not any(getattr(c, "name", None) == self.source for c in before):
            raise ValueError(
                f"FeatureTransformation(source={self.source!r}): no callback before it appends a block of that name. Put "
                f"MemoryQueue(name={self.source!r}) before it in the Trainer's callbacks, or set negative=None."
            )

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """The pairs moved apart, the source mixed."""
        out = self.transformed(contrast, trainer.global_step)
        if trainer.training and logs_now(trainer):
            self._log(pl_module, out)
        return out

    def transformed(self, contrast: Contrast, step: int) -> Contrast:
        """What a step compares.

        Args:
            contrast: of pairs, the rows of this process.
            step: of the draws.
        """
        if self.positive is not None:
            contrast = self._apart(contrast, self.positive, step)
        if self.negative is not None:
            mixed = (self._mixed(b, contrast, self.negative, step) for b in contrast.candidates)
            contrast = contrast.replace(candidates=tuple(mixed))
        return contrast

    def _apart(self, contrast: Contrast, alpha: float, step: int) -> Contrast:
        anchors, first = contrast.anchors, contrast.candidates[0]
        if contrast.is_self or first.first.flatten(0, -2).shape != anchors.first.shape:
            raise ValueError(
                f"FeatureTransformation moves pairs apart, but {contrast.name!r} compares "
                + ("all views with all views" if contrast.is_self else "rows that are no pairs")
                + ": use a key encoder (Momentum), a predictor, or pairs=True of the DataModule."
            )
        q, k = _prepared(anchors, contrast), _prepared(first, contrast).detach()
        share = self._draw(anchors, q, alpha, step) + (0.0 if self.interpolate else 1.0)
        one, two = extrapolated(q, k.reshape(q.shape), share)
        if self.renormalise:
            one, two = F.normalize(one, dim=-1), F.normalize(two, dim=-1)
        moved = first.replace(z=two.reshape(k.shape), prepared=True).attach(**{STORED: k})
        return contrast.replace(
            anchors=anchors.replace(z=one, prepared=True), candidates=(moved, *contrast.candidates[1:])
        )

    def _draw(self, anchors: Candidates, q: Tensor, alpha: float, step: int) -> Tensor:
        """0-d, or ``[N, D]``, in [0, 1]."""
        if not self.elementwise:
            u = counter_uniform(torch.zeros(1, dtype=torch.int64), 1, seed=self.seed, epoch=step)[0, 0]
            return beta_quantile(u, alpha).to(q)
        index = anchors.get("index")
        key = torch.where(index >= 0, index, anchors.get("position")) * 8 + anchors.get("view").clamp(min=0)
        return beta_quantile(counter_uniform(key, q.shape[1], seed=self.seed, epoch=step), alpha).to(q)

    def _mixed(self, block: Candidates, contrast: Contrast, alpha: float, step: int) -> Candidates:
        if block.name != self.source:
            return block
        n = _prepared(block, contrast).detach()
        generator = torch.Generator().manual_seed(hash_integers(self.seed, step, 1))
        other = torch.randperm(len(n), generator=generator).to(n.device)
        shape = tuple(n.shape) if self.elementwise else ()
        share = beta_quantile(torch.rand(shape, generator=generator), alpha).to(n)
        return block.replace(z=share * n + (1 - share) * n[other], prepared=True)

    @torch.no_grad()
    def _log(self, pl_module: Any, contrast: Contrast) -> None:
        first = contrast.candidates[0]
        q, k = _prepared(contrast.anchors, contrast), _prepared(first, contrast)
        pl_module.log_dict({f"{self.name}/positive": (q * k.reshape(q.shape)).sum(1).mean()})
        source = next((b for b in contrast.candidates if b.name == self.source), None)
        if source is not None:
            similarity = q @ _prepared(source, contrast).mT
            pl_module.log_dict(
                {f"{self.name}/negative": similarity.mean(), f"{self.name}/negative_variance": similarity.var()}
            )


def _prepared(block: Candidates, contrast: Contrast) -> Tensor:
    if isinstance(block.z, tuple):
        raise ValueError("FeatureTransformation mixes single embeddings, but these are tuples (tokens and mask).")
    z = block.z if block.prepared else (contrast.similarity or Cosine()).prepare(block.z)
    assert isinstance(z, Tensor)
    return z
