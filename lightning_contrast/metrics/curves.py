"""Training curves from the ``metrics.csv`` of Lightning's CSVLogger, loss beside its chance level first."""

import csv
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from lightning_contrast.metrics.canvas import COLOURS, FAINT, new_figure, save_png, write_title

Curve = list[tuple[float, float]]  # (step, value)


class Panel(NamedTuple):
    """One picture among the training curves."""

    title: str
    words: tuple[str, ...]  # a column belongs to the first panel of which a word is in its name
    label: str  # of the vertical axis


PANELS = (
    Panel("Loss beside its chance level", ("loss", "chance"), "loss (nats)"),
    Panel(
        "Held-out accuracy",
        ("knn", "linear", "accuracy", "few_label", "probe", "recall", "map"),
        "share correct",
    ),
    Panel("Temperature", ("temperature",), "temperature"),
    Panel("Alignment and uniformity (lower is better)", ("alignment", "uniformity"), "value"),
    Panel("Rank of the embeddings", ("rank", "lidar"), "dimensions"),
    Panel("Similarity of pairs", ("positive", "hardest", "similarity", "cosine"), "cosine"),
    Panel("Learning rate", ("lr", "learning_rate"), "learning rate"),
)
SMOOTH_FROM = 60  # points from which a curve is drawn faintly below its moving average


def read_metrics(path: str | os.PathLike[str]) -> dict[str, Curve]:
    """Read the curves of a ``metrics.csv``: by column, its finite values with their steps.

    Empty cells, a half-written last line and values that are no numbers are passed over.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no column ``step``.

    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no metrics file {source}; log with lightning.pytorch.loggers.CSVLogger.")
    curves: dict[str, Curve] = {}
    with source.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        if "step" not in (reader.fieldnames or []):
            raise ValueError(f"{source} has no column 'step'; found {reader.fieldnames}. Is it a metrics.csv?")
        for row in reader:
            step = _number(row.get("step"))
            for name, text in row.items():
                value = _number(text)
                if name not in (None, "step", "epoch") and step is not None and value is not None:
                    curves.setdefault(name, []).append((step, value))
    return {name: sorted(curve) for name, curve in curves.items()}


def plot_training_curves(
    metrics: str | os.PathLike[str], path: str | os.PathLike[str], *, title: str = "Training curves"
) -> Path:
    """Draw the curves of a ``metrics.csv``, related ones in one panel, to a PNG.

    Args:
        metrics: the CSV file.
        path: PNG to write (atomically); its folder must exist.
        title: above the picture.

    Returns:
        The path of the PNG.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no column ``step``, or nothing in the file that a panel shows.

    """
    curves = read_metrics(metrics)
    panels = arrange(curves)
    if not panels:
        raise ValueError(f"{metrics} has nothing to draw; its columns with values are {sorted(curves)}.")
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(4.7 * columns, 3.3 * rows + 0.4, rows, columns)
    grid = [axes] if len(panels) == 1 else list(axes)
    for one, (panel, names) in zip(grid, panels, strict=False):
        _draw(one, panel, {name: curves[name] for name in names})
    for unused in grid[len(panels) :]:
        unused.remove()
    figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontsize=14, fontweight="bold")
    return save_png(figure, path)


def arrange(curves: dict[str, Curve]) -> list[tuple[Panel, list[str]]]:
    """Sort columns into panels; of ``x_step`` and ``x_epoch`` only the first is kept, where both exist.

    Example:
        >>> [(panel.title, names) for panel, names in arrange({"val/knn": [(0.0, 0.5)], "other": []})]
        [('Held-out accuracy', ['val/knn'])]

    """
    found: dict[Panel, list[str]] = {}
    for name in curves:
        if name.endswith("_epoch") and f"{name.removesuffix('_epoch')}_step" in curves:
            continue
        for panel in PANELS:
            if any(word in name.lower() for word in panel.words):
                found.setdefault(panel, []).append(name)
                break
    return [(panel, found[panel]) for panel in PANELS if panel in found]


def _draw(axes: Any, panel: Panel, curves: dict[str, Curve]) -> None:
    for i, (name, curve) in enumerate(curves.items()):
        x, y = [step for step, _ in curve], [value for _, value in curve]
        label = name.removesuffix("_step").replace("$", r"\$")
        if "chance" in name.lower():
            axes.plot(x, y, color=FAINT, linestyle=(0, (4, 3)), linewidth=1.4, label=label)
            continue
        colour = COLOURS[i % len(COLOURS)]
        if len(y) >= SMOOTH_FROM:
            axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.25)
            axes.plot(x, moving_average(y), color=colour, linewidth=2, label=label)
        else:
            axes.plot(x, y, color=colour, linewidth=2, marker="o", markersize=4, label=label)
    axes.set(xlabel="optimizer step", ylabel=panel.label)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(y=0.12)
    write_title(axes, panel.title)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=FAINT)


def moving_average(values: list[float]) -> list[float]:
    """Average each value with its neighbours, over a window that shrinks at both ends."""
    half = max(1, len(values) // 40)
    averaged = []
    for i in range(len(values)):
        reach = min(half, i, len(values) - 1 - i)
        window = values[i - reach : i + reach + 1]
        averaged.append(sum(window) / len(window))
    return averaged


def _number(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
