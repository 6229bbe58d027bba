"""What the embeddings of a run show: map, clusters, neighbours, errors, figures with intervals."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.cli.report.items import Items, items_of
from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.functional.geometry import uniformity
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.functional.nearest import nearest
from lightning_contrast.functional.retrieval import parse_figure, per_query, relevant_counts
from lightning_contrast.functional.spectrum import effective_rank
from lightning_contrast.metrics.embedding_map import embedding_map

NEIGHBOURS = 6
DRAWS = 1000  # of the bootstrap


@dataclass(frozen=True)
class Figure:
    """A number with its 95 % interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None
    higher: bool | None = None  # whether more is better


@dataclass
class Look:
    """Everything about a sample of items; rows are those of ``items``."""

    items: Items
    points: Tensor  # [S, 2]
    method: str
    cluster: Tensor  # int64 [S]
    score: Tensor  # [S, K] similarity of each neighbour
    row: Tensor  # int64 [S, K] the neighbours; of pairs: whose partners were found; -1 is nobody
    right: Tensor | None  # bool [S] whether the first is right; None where nothing says so
    known: Tensor  # bool [S] whether that can be said of the item
    margin: Tensor | None  # [S] how much more similar the first found is than the best right one
    figures: dict[str, Figure] = field(default_factory=dict)

    def errors(self, count: int) -> list[int]:
        """Rows of the worst errors: those in which the model is surest."""
        if self.right is None or self.margin is None:
            return []
        wrong = (self.known & ~self.right & self.margin.isfinite()).nonzero()[:, 0]
        return wrong[self.margin[wrong].argsort(descending=True)][:count].tolist()


def look_at(run: RunFolder, sample: int, seed: int, others: list[str], blind: bool = False) -> Look | None:
    """Look at a run's embeddings; ``None`` (and why, in its notes) if there is nothing to see."""
    items = items_of(run, sample, seed, others, blind)
    if items is None:
        return None
    finite = items.z.isfinite().all(1)
    if items.pairs is not None:
        finite &= items.pairs[0].isfinite().all(1) & items.pairs[1].isfinite().all(1)
    if not bool(finite.all()):
        run.notes.append(f"{int((~finite).sum())} of {len(finite)} embeddings are not finite and were left out")
        items = items.kept(finite.nonzero()[:, 0])
    if len(items.z) < 3:
        run.notes.append(f"only {len(items.z)} usable embeddings: no map, neighbours or errors")
        return None
    if items.label is not None and items.pairs is None and len(items.label[items.label >= 0].unique()) < 2:
        run.notes.append("fewer than two classes among the items: right and wrong say nothing, and are not shown")
    return looked(items, seed)


def looked(items: Items, seed: int = 0) -> Look:
    """Map, clusters, neighbours, errors and figures of at least three finite items."""
    z, classes = items.z, 0 if items.label is None else len(items.label[items.label >= 0].unique())
    place = embedding_map(z, len(z), seed)
    clusters = min(len(z), 10, classes) if classes > 1 else min(8, len(z))
    query, bank = (z, z) if items.pairs is None else items.pairs
    ids = torch.arange(len(z)) if items.pairs is None else None
    score, row = nearest(query, bank, min(NEIGHBOURS, len(z) - (ids is not None)), query_ids=ids, bank_ids=ids)
    out = Look(
        items, place.points, place.method, kmeans(z, clusters, seed=seed)[1], score, row, None, row[:, 0] >= 0, None
    )
    group = torch.arange(len(z)) if items.pairs is not None and items.label is None else items.label
    if group is not None and len(group[group >= 0].unique()) > 1:
        _judge(out, query, bank, group, ids, seed)
    out.figures |= {
        "uniformity": Figure(float(uniformity(z[:1000]))),
        "effective rank": Figure(float(effective_rank(z))),
    }
    return out


def _judge(out: Look, query: Tensor, bank: Tensor, group: Tensor, ids: Tensor | None, seed: int) -> None:
    """Which first neighbours are right, by how much, and the retrieval figures."""
    scores = F.normalize(query, dim=1) @ F.normalize(bank, dim=1).T
    same = group[:, None] == group
    if ids is not None:
        scores.fill_diagonal_(-torch.inf)
        same.fill_diagonal_(False)
    out.known = (group >= 0) & same.any(1)
    out.right = same.gather(1, out.row[:, :1].clamp_min(0))[:, 0]
    out.margin = scores.amax(1) - scores.masked_fill(~same, -torch.inf).amax(1)
    asked = out.known
    if not bool(asked.any()):
        return
    relevant = relevant_counts(group[asked], group, ids if ids is None else ids[asked], ids)
    depth = min(len(bank) - (ids is not None), max(20, int(relevant.max())))
    ranked = scores[asked].topk(depth, dim=1).indices
    hits = same[asked].gather(1, ranked)
    names = ("precision@1", "map@r") if ids is not None else ("recall@1", "recall@10", "mrr@10")
    for name in names:
        out.figures[name] = interval(per_query(*parse_figure(name), hits, relevant).numpy(), seed)
    if ids is not None:
        out.figures["kNN accuracy, k = 20"] = interval(_votes(scores[asked], group, group[asked]).numpy(), seed)


def _votes(scores: Tensor, group: Tensor, truth: Tensor) -> Tensor:
    """Whether the 20 nearest others, weighted by exp(s / 0.07), vote for the right class: float64 ``[Q]``."""
    known = group >= 0
    value, row = scores.masked_fill(~known, -torch.inf).topk(min(20, len(group) - 1), dim=1)
    classes, numbered = group.unique(return_inverse=True)
    weight = ((value - value[:, :1]) / 0.07).exp()
    votes = torch.zeros(len(scores), len(classes)).scatter_add_(1, numbered[row], weight)
    return (classes[votes.argmax(1)] == truth).double()


def interval(values: np.ndarray, seed: int = 0) -> Figure:
    """The mean of values, one a query, and the 95 % interval of its bootstrap over queries."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(values.mean()), float(low), float(high), higher=True)


def wilson(share: float, n: int, z: float = 1.96) -> Figure:
    """A share of ``n`` and its 95 % interval (Wilson 1927)."""
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    below = 1 + z * z / n
    return Figure(share, (middle - half) / below, (middle + half) / below, higher=True)
