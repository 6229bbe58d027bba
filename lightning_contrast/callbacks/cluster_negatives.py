"""Centroids of online clusters as hard negatives (ClusterNS)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.batch_mining import mean_cosine
from lightning_contrast.callbacks.callback import require_state
from lightning_contrast.callbacks.keys import gathered_keys
from lightning_contrast.callbacks.nobody import nobodys
from lightning_contrast.callbacks.prototype_memory import PrototypeMemory
from lightning_contrast.contrast import Candidates, Contrast, Cosine


class ClusterNegatives(PrototypeMemory):
    """Each anchor brings a hard negative for everybody: the centroid that is second nearest to it.

    Deng et al., "Clustering-Aware Negative Sampling for Unsupervised Sentence Representation" (Findings of ACL 2023, section
    3.2). The nearest centroid is the anchor's own cluster, payload ``cluster``, by which ``ClusterBand`` knows false
    negatives. Centroids follow the keys of all processes by a moving average and get no gradient; empty ones stay. The first
    keys are the first centroids (the paper chains those that are farthest from each other).

    Nothing happens until embeddings have spread: until the mean cosine of two keys of a step is at most `start_cosine`.

    State: that of :class:`PrototypeMemory`, and whether it has begun.

    Args:
        prototypes: ``K``, >= 2; 128 in the paper.
        momentum: of the centroids, in [0, 1); 0.999 in the paper.
        start_cosine: see above, in [-1, 1]; 1 begins at once.
        name: of the block and in logs.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(
        self, prototypes: int = 128, momentum: float = 0.999, start_cosine: float = 0.4, name: str = "centroid"
    ) -> None:
        super().__init__(prototypes, momentum=momentum, name=name)
        if prototypes < 2 or not -1 <= start_cosine <= 1:
            raise ValueError(
                f"prototypes={prototypes}, start_cosine={start_cosine}: need at least 2, since the second nearest counts, and a "
                "cosine in [-1, 1]."
            )
        self.start_cosine, self.begun = start_cosine, start_cosine == 1

    @torch.no_grad()
    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Attaches clusters; appends the centroids that are second nearest."""
        contrast = super().on_contrast(trainer, pl_module, contrast)
        if self.memory.z is None or int(self.memory.known.sum()) < 2:
            return contrast
        return contrast.append(self._second(contrast))

    def _second(self, contrast: Contrast) -> Candidates:
        assert self.memory.z is not None
        z = contrast.anchors.first.detach()
        if not contrast.anchors.prepared:
            z = (contrast.similarity or Cosine()).prepare(z)  # type: ignore[assignment]
        known = self.memory.z[self.memory.known.to(z.device)]
        near = F.normalize(z.to(known.dtype), dim=1) @ F.normalize(known, dim=1).mT
        rows = known[near.topk(2, dim=1).indices[:, 1]].to(z.dtype)
        return Candidates(rows, nobodys(contrast.candidates[0], rows.shape[:1]), name=self.name)

    def on_contrast_end(self, trainer: Any, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Keeps the keys, once embeddings have spread."""
        if not self.begun:
            z = gathered_keys(contrast, pl_module).first
            self.begun = mean_cosine(F.normalize(z.detach().float(), dim=-1)) <= self.start_cosine
        if self.begun:
            super().on_contrast_end(trainer, pl_module, contrast, loss)

    def state_dict(self) -> dict[str, Any]:
        """And whether it has begun."""
        return {**super().state_dict(), "begun": self.begun}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is truncated, another class's, or of another number of centroids.
        """
        require_state(state_dict, {"begun"}, f"ClusterNegatives(name={self.name!r})")
        super().load_state_dict(state_dict)
        self.begun = bool(state_dict["begun"])
