"""One direction, ready to be scored, and whether the kernels can score it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import world_size
from lightning_contrast.contrast.payload_only import PayloadPair, one_sided, reads_payload_only
from lightning_contrast.contrast.similarity import Dot
from lightning_contrast.contrast.target import Labelled, Paired


@dataclass
class Direction:
    """One direction, ready: ``local`` before the exchange (partners live there), ``whole`` after it.

    ``narrow``: the embeddings were bfloat16, so that products may be.
    """

    local: Contrast
    whole: Contrast
    narrow: bool = False

    @property
    def shared(self) -> list[Candidates]:
        """Blocks whose rows all anchors share."""
        return [b for b in self.whole.candidates if b.where != "private"]

    @property
    def private(self) -> tuple[Candidates, ...]:
        """Blocks that belong to the anchors."""
        return tuple(b for b in self.whole.candidates if b.where == "private")


def plain_temperature(d: Direction) -> Direction:
    """The direction without a temperature function, where that speaks of the candidates or of the anchors alone.

    Candidates are divided by their own temperature, which leaves 1 for the kernels and the gradient to autograd; anchors
    have it as payload.
    """
    c, t = d.whole, d.whole.temperature
    if not callable(t) or isinstance(t, Tensor) or d.private or d.local.is_self or c.similarity is None:
        return d
    if not c.similarity.is_product or any(isinstance(b.z, tuple) for b in c.candidates):
        return d
    values = [one_sided(t, c, b) for b in c.candidates]
    if all(v is not None and v.shape[0] == 1 for v in values):
        first = d.local.candidates[0]
        first = _divided(first, t(PayloadPair(d.local.replace(candidates=()), first)))
        blocks = tuple(_divided(b, v) for b, v in zip(c.candidates, values, strict=True) if v is not None)
        plain = Dot()
        if c.similarity.bound is not None and c.anchors.first.device.type == "cpu":
            plain.bound = c.similarity.bound / min(float(v.detach().min()) for v in values if v is not None)
        local = d.local.replace(candidates=(first, *d.local.candidates[1:]))
        return Direction(local, c.replace(candidates=blocks, temperature=1.0, similarity=plain), d.narrow)
    if values and all(v is not None and v.shape[1] == 1 for v in values) and values[0] is not None:
        anchors = c.anchors.attach(temperature=values[0][:, 0])
        return Direction(d.local, c.replace(anchors=anchors, temperature="temperature"), d.narrow)
    return d


def _divided(block: Candidates, temperature: Tensor) -> Candidates:
    return block.replace(z=block.first / temperature.to(block.first.dtype).reshape(-1, 1))


def why_not(d: Direction) -> str | None:
    """Why this direction needs the generic tiles, or ``None``."""
    c = d.whole
    blocks = (c.anchors, *c.candidates)
    if c.exchange == "ring" and world_size() > 1:
        return "candidates go round the ring"
    if c.similarity is None or not c.similarity.is_product or any(isinstance(b.z, tuple) for b in blocks):
        return "the similarity is no product of single tensors"
    if callable(c.temperature) and not isinstance(c.temperature, Tensor):
        return "the temperature is a function of the tile"
    if world_size() > 1 and any(t.requires_grad for b in blocks for t in b.payload.values()):
        return "payload is trained on many ranks"
    if not c.anchors.rows or not d.shared or not all(b.rows for b in d.shared):
        return "there is nothing to score, or nothing that all anchors share"
    if any(r.kind == "shift" or r.statistic is not None for r in c.rules):
        return "a rule shifts logits or reads a statistic of the row"
    if any(not reads_payload_only(r.function, c, b) for r in c.rules for b in d.shared if r.applies_to(b.name)):
        return "a rule reads scores or is trained"
    if type(c.target) is Paired:
        if any(r.kind == "exclude" for r in c.rules) and (d.private or len(d.shared) > 1):
            return "a rule excludes pairs of several blocks"
        return _partners_unclear(d)
    if isinstance(c.target, Labelled):
        if d.private or c.rules:
            return "positives are private, or there are rules beside labels"
        first = d.local.candidates[0]
        if not d.local.is_self and not torch.equal(d.local.anchors.get(c.target.key), first.get(c.target.key)):
            return "partners have different labels"
        return None
    if d.private or len(d.shared) > 1:
        return "a target of another kind over several blocks"
    target = c.target
    if (
        target is None
        or getattr(target, "statistic", None) is not None
        or not reads_payload_only(target, c, d.shared[0])
    ):
        return "the target reads scores or is trained"
    return None


def _partners_unclear(d: Direction) -> str | None:
    """Partners are found by position in the first block; any other place for them is left to the tiles."""
    first = d.local.candidates[0]
    if any("position" in b.payload for b in d.local.candidates[1:]):
        return "positions occur in several blocks"
    for block in (d.local.anchors, first):
        if "position" not in block.payload or "view" not in block.payload:
            return "positions or views are missing"
    if first.where == "replicated":
        return "partners are replicated"
    if first.where == "batch" and not d.local.is_self:
        one, two = d.local.anchors.payload["view"], first.payload["view"]
        if int(one.max()) >= int(two.min()) and int(two.max()) >= int(one.min()):
            return "anchors and candidates share views"
    return None
