"""From runs to rows: means, intervals over seeds, and places only where intervals do not overlap."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ACCURACIES = {"knn": "kNN", "linear": "linear", "few_label": "10 labels a class"}
BY_SIZE = {
    f"{key}_{size}": f"{ACCURACIES[key]}, {size}" for key in ("knn", "linear") for size in ("many", "medium", "few")
}
"""Accuracies on the classes with many, with fewer and with few training samples."""
SEARCH = {"mrr@10": "MRR@10", "ndcg@10": "nDCG@10", "recall@10": "recall@10"}
UNSEEN = {"precision@1": "R@1", "map@r": "MAP@R", "one_label": "1 label a class", "five_labels": "5 labels a class"}
"""On classes that training did not see."""
CLASSIFIER = {
    "classifier": "classifier",
    "agreeing": "classifier, bias agrees",
    "contradicting": "classifier, bias contradicts",
}
NUMBERS = {
    "rank_correlation": "rank correlation", "error": "mean error", "error_many": "mean error, many",
    "error_medium": "mean error, medium", "error_few": "mean error, few",
}  # fmt: skip
"""Of numbers that a ridge regression reads from the features; errors are absolute."""
FIGURES = {"alignment": "alignment", "uniformity": "uniformity", "rank": "rank"}
COSTS = {"steps": "steps", "seconds": "seconds", "wall": "wall clock", "memory": "MB"}
NAMES = {**ACCURACIES, **BY_SIZE, **SEARCH, **UNSEEN, **CLASSIFIER, **NUMBERS, **FIGURES}
"""Every figure that a table may show."""


@dataclass(frozen=True)
class Figure:
    """A mean, and half the width of its 95 % interval (Student's t over seeds); None for a single run."""

    mean: float
    half: float | None

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + (self.half or 0.0)


@dataclass(frozen=True)
class Row:
    """The runs of a method, or of a study's row."""

    slug: str
    seeds: int
    labels: bool
    figures: dict[str, Figure]


def figure(values: Sequence[float]) -> Figure:
    """Mean and interval of a figure over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Figure(mean, None)
    from scipy.stats import t

    factor = float(t.ppf(0.975, len(values) - 1))
    return Figure(mean, factor * statistics.stdev(values) / math.sqrt(len(values)))


def rows_of(runs: Sequence[dict[str, Any]]) -> list[Row]:
    """One row a method, by name; its figures are those that all of its runs have."""
    out = []
    for slug in sorted({run["slug"] for run in runs}):
        own = [{**run, **run["test"]} for run in runs if run["slug"] == slug]
        shared = [key for key in (*NAMES, *COSTS) if all(key in run for run in own)]
        figures = {key: figure([run[key] for run in own]) for key in shared}
        out.append(Row(slug, len(own), any(run["labels"] for run in own), figures))
    return out


def places(rows: Sequence[Row], key: str = "knn") -> dict[str, str]:
    """``2``, or ``2-4`` where intervals overlap; methods without an interval have no place."""
    known = {row.slug: row.figures[key] for row in rows if key in row.figures and row.figures[key].half is not None}
    out = {}
    for slug, own in known.items():
        others = [one for name, one in known.items() if name != slug]
        best = 1 + sum(one.low > own.high for one in others)
        worst = len(known) - sum(one.high < own.low for one in others)
        out[slug] = f"{best}" if best == worst else f"{best}-{worst}"
    return out
