"""CSR: sparse codes that reconstruct their features and tell samples apart."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.contrast.exchange import all_sum
from lightning_contrast.heads.sparse import SparseHead
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.temperatures import TemperatureModule


class CSR(InfoNCE):
    """``||x - x_k||^2 + wide ||x - x_4k||^2 + dead L_dead + gamma InfoNCE(codes)``, ``x_k`` decoded from ``k`` entries.

    Wen et al., "Beyond Matryoshka: Revisiting Sparse Coding for Adaptive Representation" (ICML 2025, eq. 4 to 6). The
    contrast's embeddings are the features ``x``; :attr:`head` makes their codes, which are what is compared, and what is
    used afterwards: ``objective.head(features)``. Squared errors are means over the width. ``L_dead`` lets units that have
    not fired for ``dead_after`` steps reconstruct what is left over; it is relative to what is left over. The target of
    reconstruction is a constant; an encoder that trains along is pulled on through the codes, by both terms.

    Sure: high.

    Args:
        latents: length of the codes; 4 times the width of the features in the paper.
        k: entries of a code, 8 to 256 in the paper.
        gamma: weight of the contrast, >= 0.
        wide: weight of the reconstruction from ``4 k`` entries, >= 0.
        dead: weight of ``L_dead``, >= 0.
        dead_after: steps without firing, >= 1.
        dead_k: how many dead units reconstruct, >= 1.
        normalize: features are layer-normalised first.
        temperature: a number > 0 or a temperature module.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> import torch
        >>> loss = CSR(latents=8, k=2)
        >>> loss(Contrast.from_views(torch.randn(2, 4, 6))).shape, loss.head(torch.randn(4, 6)).shape
        (torch.Size([]), torch.Size([4, 8]))
    """

    since: Tensor

    def __init__(
        self,
        latents: int,
        k: int,
        gamma: float = 0.1,
        wide: float = 0.125,
        dead: float = 1 / 32,
        dead_after: int = 512,
        dead_k: int = 64,
        normalize: bool = True,
        temperature: float | TemperatureModule = 0.2,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, symmetric=symmetric)
        for name, value in (("gamma", gamma), ("wide", wide), ("dead", dead)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: must be a finite number >= 0.")
        if dead_after < 1 or dead_k < 1:
            raise ValueError(f"dead_after={dead_after}, dead_k={dead_k}: must be at least 1.")
        self.form = None
        self.head = SparseHead(latents, k)
        self.gamma, self.wide, self.dead = float(gamma), float(wide), float(dead)
        self.dead_after, self.dead_k, self.normalize = dead_after, dead_k, normalize
        self.register_buffer("since", torch.zeros(latents, dtype=torch.int64))

    def prepare(self, contrast: Contrast) -> Contrast:
        """Codes in place of features; each row's reconstruction error travels with it."""
        if len(contrast.candidates) > 1 or contrast.candidates[0].where == "private":
            raise ValueError("CSR compares the rows of the batch alone: in_batch=True, and no further candidates.")
        with torch.autocast(contrast.anchors.first.device.type, enabled=False):
            return super().prepare(contrast.map_own(self._coded))

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """Codes are made by the units that are dead now; then they are counted."""
        out = super().directions(contrast)
        if self.training and torch.is_grad_enabled():  # not while widths are being found
            blocks = [c.anchors for c in out] + [c.candidates[0] for c in out]
            fired = torch.stack([(b.first.detach() > 0).sum(0) for b in blocks]).sum(0)
            fired = all_sum(fired) if all(c.exchange != "none" for c in out) else fired
            self.since.add_(1).masked_fill_(fired > 0, 0)
        return out

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return scores.anchor.reconstruction + self.gamma * super().rows(scores)

    def _coded(self, block: Candidates) -> Candidates:
        x = block.first if block.first.element_size() >= 4 else block.first.float()
        x = F.layer_norm(x, x.shape[-1:]) if self.normalize else x
        activations = self.head.activations(x)
        code = self.head.select(activations, self.head.k)
        left = x.detach() - self.head.decode(code)
        wide = x.detach() - self.head.decode(self.head.select(activations, 4 * self.head.k))
        error = left.square().mean(-1) + self.wide * wide.square().mean(-1)
        return block.replace(z=code).attach(
            reconstruction=error + self.dead * self._revival(activations, left.detach())
        )

    def _revival(self, activations: Tensor, left: Tensor) -> Tensor:
        """How badly dead units alone reconstruct what is left over, relative to it, ``[n]``."""
        dead = self.since >= self.dead_after
        code = self.head.select(activations.masked_fill(~dead, -torch.inf), self.dead_k)
        error = (self.head.decode(code, centred=True) - left).square().mean(-1)
        relative = error / left.square().mean(-1).clamp(min=1e-12)
        return torch.where(dead.any(), relative, 0.0)
