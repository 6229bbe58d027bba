"""Pair functions of the payload alone: whether one is, and what it returns before it is broadcast."""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_contrast.contrast.candidates import Candidates
from lightning_contrast.contrast.contrast import Contrast
from lightning_contrast.contrast.pair import Pair, PairFunction, Rule

Tile = tuple[int, int]


class ReadsScoresError(Exception):
    """A pair function asked for scores where there are none."""


class PayloadPair(Pair):
    """A tile that has payload but no scores."""

    @property
    def similarity(self) -> Tensor:
        """Refused."""
        raise ReadsScoresError

    logit = similarity


def part(block: Candidates, span: Tile) -> Candidates:
    """Rows ``span`` of a block."""
    return block.map(lambda t: t[slice(*span)])


_known: "WeakKeyDictionary[Any, dict[Any, bool]]" = WeakKeyDictionary()
"""What was found out about a function (of an object), for as long as it lives."""


def reads_payload_only(f: PairFunction, c: Contrast, block: Candidates) -> bool:
    """Whether ``f`` needs no scores, trains nothing and draws no random numbers: tried on one pair, once a function.

    Raises:
        TypeError, ValueError, KeyError: what the function does wrong on that pair.
    """
    if any(t.requires_grad for b in (c.anchors, block) for t in b.payload.values()):
        return _tried(f, c, block)  # depends on what it reads, not on the function alone
    owner, key = getattr(f, "__self__", f), (getattr(f, "__func__", None), block.name)
    try:
        known = _known.setdefault(owner, {})
    except TypeError:  # not hashable, or nothing that can be watched
        return _tried(f, c, block)
    if key not in known:
        known[key] = _tried(f, c, block)
    return known[key]


def _tried(f: PairFunction, c: Contrast, block: Candidates) -> bool:
    if isinstance(f, nn.Module) and any(True for _ in f.parameters()):
        return False
    pair = PayloadPair(c.replace(anchors=part(c.anchors, (0, 1)), candidates=()), part(block, (0, 1)))
    before = torch.get_rng_state()
    try:
        value = pair.apply(Rule("log_weight", f))
        return not value.requires_grad and torch.equal(before, torch.get_rng_state())
    except ReadsScoresError:
        return False
    finally:
        torch.set_rng_state(before)


def one_sided(f: PairFunction, c: Contrast, block: Candidates) -> Tensor | None:
    """The value of a function of the candidates alone, ``[1, m]``, or of the anchors alone, ``[n, 1]``; else ``None``.

    Differentiable. Told by the shape that it returns where one anchor meets all candidates, or the reverse.
    """
    if c.anchors.rows < 2 or block.rows < 2 or block.where == "private":
        return None
    small = c.replace(anchors=part(c.anchors, (0, 2)), candidates=())
    try:
        if tuple(f(PayloadPair(small, part(block, (0, 2)))).shape) not in ((1, 2), (2, 1)):
            return None
        return f(PayloadPair(c.replace(candidates=()), block))
    except ReadsScoresError:
        return None
