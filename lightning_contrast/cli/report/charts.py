"""Curves of the runs as panels, ready for the page's script."""

from typing import Any, NamedTuple

from lightning_contrast.cli.report.run_folder import RunFolder
from lightning_contrast.metrics.curves import Curve, moving_average

POINTS = 500  # of a curve that are drawn
SMOOTH_FROM = 60  # points from which a curve is drawn faintly below its moving average


class Panel(NamedTuple):
    """One chart of the page; ``names`` are logged names, or their beginnings where they end in ``/``."""

    title: str
    names: tuple[str, ...]
    axis: str
    words: str


PANELS = (
    Panel("Loss beside chance", ("train/loss", "val/loss", "test/loss", "geometry/chance"), "loss (nats)",
          "Chance, dashed, is the loss if all candidates were equally similar. A loss near it has learned nothing."),
    Panel("Held-out accuracy", ("val/knn", "val/linear", "val/acc", "val/accuracy"), "share right",
          "On validation data, with the weights of then: nearest neighbours and a linear probe on frozen features."),
    Panel("Search", ("val/ndcg@10", "val/ndcg@10_untrained", "val/ndcg@10_bm25"), "nDCG@10",
          "Validation queries over all documents, beside the encoder before training and a search by words (BM25)."),
    Panel("Similarity of pairs", ("geometry/positive", "geometry/hardest_negative"), "similarity",
          "Positives should rise above each anchor's most similar negative."),
    Panel("Alignment and uniformity", ("geometry/alignment", "geometry/uniformity"), "lower is better",
          "Alignment: how far partners are apart, 0 to 4. Uniformity: how evenly all fill the sphere, -8 to 0."),
    Panel("Directions in use", ("geometry/effective_rank",), "effective rank",
          "How many directions carry the embeddings. 1 is collapse."),
    Panel("Temperature", ("train/temperature", "train/temperature/"), "temperature",
          "Low looks hard at the nearest negatives, high at all alike."),
    Panel("Negatives an anchor", ("geometry/negatives", "train/candidates"), "count",
          "After masks and rules; candidates are before them."),
    Panel("Teacher's momentum", ("train/momentum",), "momentum", "Share of the moving average that stays in a step."),
    Panel("Queue: fill", ("queue/fill",), "entries", "Keys of earlier steps that serve as negatives."),
    Panel("Queue: age", ("queue/age",), "optimizer steps", "Mean age of the entries: old keys come from other weights."),
    Panel("Mined negatives: churn", ("refresh/churn",), "share", "Share of mined ids that are new since the time before."),
    Panel("Mined negatives: age", ("refresh/age",), "optimizer steps", "Since the weights that mined them."),
    Panel("Mined negatives: false", ("refresh/same_label",), "share", "Share of mined negatives of the anchor's label."),
    Panel("Mined negatives: places left empty", ("refresh/missing", "refresh/empty"), "share",
          "Places that stayed empty, and anchors with nobody."),
    Panel("Mined negatives: removed by rules", ("refresh/removed/",), "pairs an anchor", "What each rule took out."),
    Panel("Mined batches", ("mining/similarity", "mining/chance"), "mean cosine",
          "Of two samples of a batch; chance is that of any two samples."),
    Panel("False negatives removed", ("false_negatives/",), "an anchor, or share", "What each rule took out."),
)  # fmt: skip


def panels_of(runs: list[RunFolder]) -> list[dict[str, Any]]:
    """One chart a panel that any run has figures for; figures without a panel get a chart each, marked ``more``."""
    left = list(dict.fromkeys(name for run in runs for name in run.curves if not _doubled(name, run.curves)))
    out = []
    for panel in PANELS:
        names = [name for name in left if _belongs(_plain(name), panel)]
        left = [name for name in left if name not in names]
        if names:
            out.append(_chart(panel, names, runs, more=False))
    return out + [_chart(Panel(name, (name,), "value", ""), [name], runs, more=True) for name in left]


def _chart(panel: Panel, names: list[str], runs: list[RunFolder], more: bool) -> dict[str, Any]:
    series = []
    for place, run in enumerate(runs):
        for number, name in enumerate(names):
            if name in run.curves:
                x, y, smooth = drawn_curve(run.curves[name])
                series.append({"run": place, "name": name, "number": number, "x": x, "y": y, "smooth": smooth,
                               "chance": name.endswith("chance")})  # fmt: skip
    return {"title": panel.title, "axis": panel.axis, "words": panel.words, "more": more, "series": series}


def drawn_curve(curve: Curve) -> tuple[list[float], list[float], list[float] | None]:
    """At most ``POINTS`` points, evenly chosen and the last; and the moving average of a long curve at them."""
    every = -(-len(curve) // POINTS)
    chosen = sorted({*range(0, len(curve), every), len(curve) - 1})
    smooth = moving_average([value for _, value in curve]) if len(curve) >= SMOOTH_FROM else None
    return (
        [curve[i][0] for i in chosen],
        [_short(curve[i][1]) for i in chosen],
        None if smooth is None else [_short(smooth[i]) for i in chosen],
    )


def _belongs(name: str, panel: Panel) -> bool:
    return any(name.startswith(n) if n.endswith("/") else name == n for n in panel.names)


def _plain(name: str) -> str:
    return name.removesuffix("_step").removesuffix("_epoch")


def _doubled(name: str, curves: dict[str, Curve]) -> bool:
    return name.endswith("_epoch") and f"{name.removesuffix('_epoch')}_step" in curves


def _short(value: float) -> float:
    return float(f"{value:.5g}")
