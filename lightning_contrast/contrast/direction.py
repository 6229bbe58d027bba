"""One direction, ready to be scored, and whether the kernels can score it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import world_size
from lightning_contrast.contrast.pair import Pair, PairFunction
from lightning_contrast.contrast.target import Labelled, Paired

Tile = tuple[int, int]


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
    if any(t.requires_grad for b in blocks for t in b.payload.values()):
        return "payload is trained"
    if not c.anchors.rows or not d.shared or not all(b.rows for b in d.shared):
        return "there is nothing to score, or nothing that all anchors share"
    if any(r.kind == "shift" or r.statistic is not None for r in c.rules):
        return "a rule shifts logits or reads a statistic of the row"
    if any(not _reads_payload_only(r.function, d, b) for r in c.rules for b in d.shared if r.applies_to(b.name)):
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
        or not _reads_payload_only(target, d, d.shared[0])
    ):
        return "the target reads scores or is trained"
    return None


class _ReadsScoresError(Exception):
    pass


class PayloadPair(Pair):
    """A tile that has payload but no scores."""

    @property
    def similarity(self) -> Tensor:
        """Refused."""
        raise _ReadsScoresError

    logit = similarity


def _reads_payload_only(f: PairFunction, d: Direction, block: Candidates) -> bool:
    """Tried on one pair: no scores, nothing trained, nothing random."""
    if isinstance(f, nn.Module) and any(True for _ in f.parameters()):
        return False
    tiny = d.whole.replace(anchors=part(d.whole.anchors, (0, 1)), candidates=())
    try:
        with torch.random.fork_rng(devices=[]):
            before = torch.get_rng_state()
            value = f(PayloadPair(tiny, part(block, (0, 1))))
            return not value.requires_grad and torch.equal(before, torch.get_rng_state())
    except _ReadsScoresError:
        return False


def part(block: Candidates, span: Tile) -> Candidates:
    """Rows ``span`` of a block."""
    return block.map(lambda t: t[slice(*span)])


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
