"""How few negatives the gradient of InfoNCE listens to."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.nearest import check_embeddings

TILE = 1024
ENTRIES = 2**22  # numbers of a row tile that exist at a time, the hardest that are kept included


class GradientShare(NamedTuple):
    """Means over the anchors that have negatives, 0-d float64; nan where none has."""

    hardest: Tensor  # [F] share of the negatives' gradient that goes to the hardest ones, in (0, 1]
    effective: Tensor  # exp(entropy of the shares), in [1, negatives]
    negatives: Tensor  # how many there are


def check_fractions(fractions: Sequence[float]) -> None:
    """Check which parts of the negatives are asked for.

    Raises:
        ValueError: none, or one outside (0, 1].

    """
    if not fractions or any(not 0 < fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions={list(fractions)}: give parts of the negatives in (0, 1], such as 0.01.")


def row_shares(logit: Tensor, fractions: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """The figures of each anchor from a matrix that exists: ``hardest`` [n, F], ``effective`` [n], ``negatives`` [n].

    Args:
        logit: [n, M], ``-inf`` where a candidate is no negative; a row without any gives nan.
        fractions: parts of the negatives, in (0, 1].

    """
    check_fractions(fractions)
    p = torch.softmax(logit.double(), 1)
    count = (logit > -torch.inf).sum(1)
    places = torch.stack([_last(fraction, count) for fraction in fractions], 1)
    hardest = p.sort(1, descending=True).values.cumsum(1).gather(1, places)
    return hardest, torch.special.entr(p).sum(1).exp(), count


@torch.no_grad()
def gradient_share(
    anchors: Tensor,
    candidates: Tensor,
    anchor_group: Tensor,
    candidate_group: Tensor,
    *,
    anchor_ids: Tensor | None = None,
    candidate_ids: Tensor | None = None,
    temperature: float = 0.1,
    fractions: Sequence[float] = (0.01, 0.1),
) -> GradientShare:
    r"""Tell which share of the gradient the hardest negatives carry, and how many effectively count.

    With the logits :math:`s_{ij} / \tau`, InfoNCE's gradient on the logit of negative j is its probability :math:`p_{ij}`.
    Its share among the negatives, :math:`r_{ij} = p_{ij} / \sum_{k} p_{ik}`, does not depend on the positives. Wang and Liu,
    "Understanding the Behaviour of Contrastive Loss" (CVPR 2021), section 3.1. Exact, and tile by tile: no N x M matrix.

    Args:
        anchors: [N, D]; compared by cosine.
        candidates: [M, D].
        anchor_group: integers [N]; a candidate of the same group is a positive (labels, or pair ids).
        candidate_group: integers [M].
        anchor_ids: integers [N]; pairs of equal ids do not exist (a row and itself).
        candidate_ids: integers [M].
        temperature: tau > 0; towards 0 the hardest one takes all, towards infinity all share alike.
        fractions: parts of each anchor's negatives, in (0, 1], rounded up to whole ones.

    Raises:
        ValueError: wrong shapes, values out of range, only one kind of ids.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> group = torch.arange(3)
        >>> found = gradient_share(z[:1], z[1:], group[:1], group[1:], temperature=0.8, fractions=[0.5])
        >>> round(float(found.hardest), 4), round(float(found.effective), 2)  # 1 / (1 + exp(-1))
        (0.7311, 1.79)

    """
    check_embeddings("anchors", anchors)
    check_embeddings("candidates", candidates, width=anchors.shape[1])
    check_fractions(fractions)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0; got {temperature}.")
    if (anchor_ids is None) != (candidate_ids is None):
        raise ValueError("anchor_ids and candidate_ids come together; got only one of them.")
    x, y = F.normalize(anchors.float(), dim=1), F.normalize(candidates.float(), dim=1)
    kept = max(1, math.ceil(max(fractions) * len(y)))  # no anchor has more negatives than there are candidates
    size = max(1, min(TILE, ENTRIES // (kept + TILE)))
    parts = []
    for i in range(0, len(x), size):
        rows = slice(i, i + size)
        state = _Rows(x[rows], kept, temperature)
        for j in range(0, len(y), TILE):
            columns = slice(j, j + TILE)
            gone = anchor_group[rows, None] == candidate_group[None, columns]
            if anchor_ids is not None and candidate_ids is not None:
                gone = gone | (anchor_ids[rows, None] == candidate_ids[None, columns])
            state.see(y[columns], gone)
        parts.append(state.figures(fractions))
    hardest, effective, count = (torch.cat(column) for column in zip(*parts, strict=True)) if parts else 3 * (x[:0, 0],)
    has = count > 0
    return GradientShare(hardest[has].mean(0), effective[has].mean(), count[has].double().mean())


def _last(fraction: float, count: Tensor) -> Tensor:
    """Place of the last of the hardest ``fraction``; a product such as 0.1 * 30 is a whole number."""
    return ((fraction * count.double() - 1e-9).ceil().long() - 1).clamp(min=0)


class _Rows:
    """What is known of a tile of anchors after some tiles of candidates: sums below the largest cosine, and the hardest."""

    def __init__(self, x: Tensor, kept: int, temperature: float) -> None:
        self.x, self.kept, self.temperature = x, kept, temperature
        self.top = x.new_zeros(len(x), 0, dtype=torch.float64)
        self.total, self.moment = (x.new_zeros(len(x), dtype=torch.float64) for _ in range(2))
        self.largest = x.new_full((len(x),), -2.0, dtype=torch.float64)  # below every cosine
        self.count = x.new_zeros(len(x), dtype=torch.int64)

    def see(self, y: Tensor, gone: Tensor) -> None:
        cosine = (self.x @ y.T).double().masked_fill(gone, -torch.inf)
        largest = torch.maximum(self.largest, cosine.amax(1))
        before = ((self.largest - largest) / self.temperature).exp()
        below = (cosine - largest[:, None]) / self.temperature
        weight = below.exp()
        # of each weight's logarithm; the ones before move down with the largest
        moved = self.moment + self.total * (self.largest - largest) / self.temperature
        self.moment = before * moved + (weight * below.masked_fill(gone, 0.0)).sum(1)
        self.total = before * self.total + weight.sum(1)
        self.largest, self.count = largest, self.count + (~gone).sum(1)
        top = torch.cat([self.top, cosine], 1)
        self.top = top.topk(min(self.kept, top.shape[1]), 1, sorted=False).values

    def figures(self, fractions: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
        weight = ((self.top.sort(1, descending=True).values - self.largest[:, None]) / self.temperature).exp()
        places = torch.stack([_last(fraction, self.count) for fraction in fractions], 1)
        hardest = (weight.cumsum(1).gather(1, places) / self.total[:, None]).clamp(max=1)
        return hardest, (self.total.log() - self.moment / self.total).exp(), self.count
