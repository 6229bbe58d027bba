"""Hydra: any two samples are positives, in a subspace that their classes choose."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Candidates, Contrast, Pair
from lightning_contrast.heads.head import at_least_one
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.similarities.gated import GatedCosine
from lightning_contrast.temperatures import TemperatureModule


class Hydra(InfoNCE):
    """InfoNCE with ``cos(g * z1, g * z2)``, ``g = sigmoid(MLP((E(y1) + E(y2)) / 2))`` of the classes of the pair.

    Wu et al., "Rethinking Positive Pairs in Contrastive Learning" (2024). Each sample's partner is another sample of the
    batch, of any class; all candidates are seen through the anchor's gate. Partners are those of the same process. With
    ``index`` in the batch, the sample's own other view is no negative.

    Sure: medium; which pairs make a batch is one reading of the paper.

    Args:
        classes: their number, labels being ``0 .. classes - 1``.
        dim: width of the embeddings.
        partner: ``any``: the next sample of the batch; ``class``: the next of its class; ``own``: its own other view
            (with gates open, SimCLR).
        exclude_pair_classes: only rows of classes outside the pair are negatives.
        hidden: width of the label embeddings and of the hidden layer.
        temperature: a number > 0 or a temperature module.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for numbers out of range, labels without an embedding, or other than two views.
        KeyError: if the contrast has no ``label``.

    Example:
        >>> import torch
        >>> loss = Hydra(classes=2, dim=2, partner="own", temperature=1.0)
        >>> z, y = torch.eye(2).expand(2, 2, 2), torch.tensor([0, 1])
        >>> round(loss(Contrast.from_views(z, label=y)).item(), 5)      # orthogonal, through any gate
        0.55144
    """

    requires = ("label",)

    def __init__(
        self,
        classes: int,
        dim: int,
        partner: Literal["any", "class", "own"] = "any",
        exclude_pair_classes: bool = False,
        hidden: int = 128,
        temperature: float | TemperatureModule = 0.1,
        symmetric: bool = False,
    ) -> None:
        super().__init__(temperature, GatedCosine(), symmetric)
        if partner not in ("any", "class", "own"):
            raise ValueError(f"partner={partner!r}: use 'any', 'class' or 'own'.")
        self.form = None
        self.classes, self.partner = at_least_one(classes, "classes"), partner
        self.exclude_pair_classes = exclude_pair_classes
        self.embedding = nn.Embedding(classes, at_least_one(hidden, "hidden"))
        self.layers = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, at_least_one(dim, "dim")))

    def gate(self, one: Tensor, two: Tensor) -> Tensor:
        """``[N, dim]`` in (0, 1), of two classes each; symmetric."""
        return torch.sigmoid(self.layers((self.embedding(one) + self.embedding(two)) / 2))

    @torch.no_grad()
    def relation(self) -> Tensor:
        """How open the gate of each pair of classes is on average, ``[C, C]``."""
        y = torch.arange(self.classes, device=self.embedding.weight.device)
        pairs = torch.cartesian_prod(y, y)
        return self.gate(pairs[:, 0], pairs[:, 1]).mean(1).unflatten(0, (self.classes, -1))

    def prepare(self, contrast: Contrast) -> Contrast:
        """Partners, and the gate of every row's pair."""
        contrast = super().prepare(self._paired(contrast))
        return contrast.exclude(of_the_pair) if self.exclude_pair_classes else contrast

    def _paired(self, contrast: Contrast) -> Contrast:
        first, n = contrast.candidates[0], contrast.anchors.rows
        if first.where == "private" or len(contrast.candidates) > 1:
            raise ValueError("Hydra compares the rows of the batch alone: in_batch=True, and no further candidates.")
        n = n // 2 if contrast.is_self else n
        if contrast.is_self and not torch.equal(contrast.anchors.get("view"), _views(contrast.anchors, n)):
            raise ValueError("Hydra pairs two views: set data.n_views to 2.")
        label = contrast.anchors.get("label")[:n]
        if label.device.type == "cpu" and n and not 0 <= int(label.min()) <= int(label.max()) < self.classes:
            raise ValueError(
                f"labels {int(label.min())} to {int(label.max())}: Hydra has embeddings for 0 to {self.classes - 1}."
            )
        there = self._partners(label)
        back = torch.argsort(there)
        position = contrast.anchors.get("position")[:n]
        # A pair has the position of its first sample, and the gate of both classes.
        ways = (position, label[there]), (position[back], label[back])
        if contrast.is_self:
            both = self._gated(contrast.anchors, *(torch.cat(way) for way in zip(*ways, strict=True)))
            return contrast.replace(anchors=both, candidates=(both,))
        one, two = (self._gated(block, *way) for block, way in zip((contrast.anchors, first), ways, strict=True))
        return contrast.replace(anchors=one, candidates=(two,))

    def _gated(self, block: Candidates, position: Tensor, other: Tensor) -> Candidates:
        with torch.autocast(block.first.device.type, enabled=False):
            gate = self.gate(block.get("label"), other).to(block.first.dtype)
        return block.replace(z=(block.first, gate)).attach(position=position, partner_label=other)

    def _partners(self, label: Tensor) -> Tensor:
        """Which sample each sample's partner is, a permutation of ``0 .. n - 1``."""
        n = len(label)
        here = torch.arange(n, device=label.device)
        if self.partner == "own":
            return here
        if self.partner == "any":
            return here.roll(-1)
        order = torch.argsort(label, stable=True)
        sorted_label = label[order]
        following = here + 1
        last = (following == n) | (sorted_label[following.clamp(max=n - 1)] != sorted_label)
        following = torch.where(last, torch.searchsorted(sorted_label, sorted_label), following)
        return torch.empty_like(order).scatter(0, order, order[following])


def of_the_pair(pair: Pair) -> Tensor:
    """Rows of the pair's own classes that are no partners."""
    mine = (pair.candidate.label == pair.anchor.label) | (pair.candidate.label == pair.anchor.partner_label)
    return mine & (pair.target <= 0)


def _views(block: Candidates, n: int) -> Tensor:
    return torch.arange(block.rows, device=block.first.device) // max(1, n)
