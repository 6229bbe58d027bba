"""Harder negatives, mixed from an anchor's nearest entries of a memory (MoCHi)."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, refuse_twins
from lightning_contrast.callbacks.nobody import nobodys
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.functional.counter_random import counter_uniform


class MixedNegatives(ContrastCallback):
    r"""Each anchor gets synthetic negatives of its own (Kalantidis et al. 2020, eq. 2 and 3).

    From the ``hardest`` most similar negatives :math:`n` of the source block: ``mixed`` times
    :math:`\alpha n_i + (1 - \alpha) n_j`, :math:`\alpha \sim U(0, 1)`; ``with_anchor`` times
    :math:`\beta q + (1 - \beta) n_j`, :math:`\beta \sim U(0, 0.5)`, :math:`q` the detached anchor. The similarity
    prepares them (unit length under cosine); they are stored nowhere. What is no negative of the anchor (the same item, a
    positive by label, a pair an earlier rule excluded) is not mixed. Draws are a function of seed, step and sample index,
    so they do not depend on the number of processes. A source of negatives of each anchor's own, such as those that
    ``HardNegativeRefresh`` mined, is mixed anchor by anchor (Zhao et al. 2025, KaLM-Embedding-V2).

    Args:
        hardest: entries to mix from, >= 2 (the paper: 1024 of 16384 to 65536).
        mixed: pairs of them, >= 0.
        with_anchor: mixtures with the anchor, >= 0.
        warmup_steps: optimizer steps without (the paper: 10 to 15 epochs).
        source: name of the block to mix from, ``queue`` or ``mined``; the callback that appends it must stand before this one.
        seed: of the draws.
        name: of the block.

    Raises:
        ValueError: for values out of range; at set-up when no callback before this one supplies the source.
    """

    def __init__(
        self,
        hardest: int = 1024,
        mixed: int = 1024,
        with_anchor: int = 128,
        warmup_steps: int = 0,
        source: str = "queue",
        seed: int = 0,
        name: str = "mixed",
    ) -> None:
        if hardest < 2:
            raise ValueError(f"hardest={hardest}: at least 2 entries are needed to mix.")
        if mixed < 0 or with_anchor < 0 or mixed + with_anchor == 0:
            raise ValueError(f"mixed={mixed}, with_anchor={with_anchor}: must be >= 0, and one of them > 0.")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps={warmup_steps}: must be at least 0.")
        self.hardest, self.mixed, self.with_anchor = hardest, mixed, with_anchor
        self.warmup_steps, self.source, self.seed, self.name = warmup_steps, source, seed, name

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Looks for the source."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        before = trainer.callbacks[: trainer.callbacks.index(self)]
        if not any(getattr(c, "name", None) == self.source for c in before):
            raise ValueError(
                f"MixedNegatives(source={self.source!r}): no callback before it appends a block of that name, so nothing "
                f"would be mixed. Put MemoryQueue(name={self.source!r}) before it in the Trainer's callbacks."
            )

    @torch.no_grad()
    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends the mixtures, once the source holds something."""
        source = next((b for b in contrast.candidates if b.name == self.source), None)
        if source is None or source.rows < 2 or trainer.global_step < self.warmup_steps:
            return contrast
        if isinstance(contrast.anchors.z, tuple) or isinstance(source.z, tuple):
            raise ValueError("MixedNegatives mixes single embeddings, but these are tuples (tokens and mask).")
        return contrast.append(self.block(contrast, source, trainer.global_step))

    def block(self, contrast: Contrast, source: Candidates, step: int) -> Candidates:
        """The mixtures, ``[N, mixed + with_anchor, D]``, for the anchors of this process."""
        anchors = contrast.anchors.detach()
        similarity = contrast.similarity if contrast.similarity is not None else Cosine()
        q = anchors.z if anchors.prepared else similarity.prepare(anchors.z)
        assert isinstance(q, Tensor)
        assert isinstance(source.z, Tensor)
        n = source.z.to(q.dtype) if source.prepared else similarity.prepare(source.z.to(q.dtype))
        assert isinstance(n, Tensor)
        alone = contrast.replace(
            anchors=anchors, candidates=(source.replace(z=n, prepared=True),), exchange="none",
            rules=tuple(r for r in contrast.rules if r.applies_to(source.name)),
        )  # fmt: skip
        logit, row = alone.scores().topk(self.hardest, over="negatives")
        usable = (logit > -torch.inf).sum(1, keepdim=True)
        # Two numbers a mixture choose entries, one its weight; keyed by what stays the same on any number of processes.
        key = anchors.get("index") * 8 + anchors.get("view").clamp(min=0)
        key = torch.where(anchors.get("index") >= 0, key, anchors.get("position"))
        u = counter_uniform(key, 3 * self.mixed + 2 * self.with_anchor, seed=self.seed, epoch=step)
        s, t = self.mixed, self.with_anchor

        own = None if n.dim() == 2 else torch.arange(len(q), device=q.device)[:, None] // (len(q) // max(1, len(n)))

        def entries(u: Tensor) -> Tensor:
            chosen = row.gather(1, (u * usable).long().clamp(max=logit.shape[1] - 1))
            return n[chosen] if own is None else n[own, chosen]

        alpha, beta = u[:, 2 * s : 3 * s, None].to(q.dtype), u[:, 3 * s + t :, None].to(q.dtype) / 2
        pairs = alpha * entries(u[:, :s]) + (1 - alpha) * entries(u[:, s : 2 * s])
        with_anchor = beta * q[:, None] + (1 - beta) * entries(u[:, 3 * s : 3 * s + t])
        z = torch.cat([pairs, with_anchor], dim=1)
        # An anchor with nothing to mix gets its own index, so that its mixtures do not exist.
        index = torch.where(usable > 0, -1, anchors.get("index")[:, None]).expand(z.shape[:2])
        return Candidates(z, {**nobodys(source, z.shape[:2]), "index": index}, name=self.name, where="private")
