"""Pictures for loggers that take them; where none does, nothing is drawn."""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

SIZE = (5.0, 3.4)  # inches


def log_picture(trainer: pl.Trainer, name: str, draw: Callable[[Any], None]) -> None:
    """Gives a picture to each logger that takes one; on the first process, and only where matplotlib is installed.

    Such loggers have an ``experiment`` with ``add_figure(name, figure, global_step=...)``, as TensorBoard's, or a
    ``log_image(key=..., images=[array], step=...)``, as W&B's.

    Args:
        trainer: whose loggers are asked.
        name: of the picture, stable.
        draw: into matplotlib axes.
    """
    takers = list(_takers(trainer, name)) if trainer.is_global_zero else []
    if not takers or importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")  # not pyplot's: no global state, nothing to close
    canvas = FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    for take in takers:
        take(figure, canvas)


def _takers(trainer: pl.Trainer, name: str) -> Iterator[Callable[[Any, Any], None]]:
    step = trainer.global_step
    for logger in trainer.loggers:
        if callable(log_image := getattr(logger, "log_image", None)):

            def as_array(figure: Any, canvas: Any, log_image: Any = log_image) -> None:
                canvas.draw()
                log_image(key=name, images=[np.asarray(canvas.buffer_rgba())[..., :3].copy()], step=step)

            yield as_array
        elif callable(add_figure := getattr(getattr(logger, "experiment", None), "add_figure", None)):

            def as_figure(figure: Any, canvas: Any, add_figure: Any = add_figure) -> None:
                add_figure(name, figure, global_step=step, close=False)

            yield as_figure


def log_histogram(trainer: pl.Trainer, name: str, counts: list[int], low: float, high: float) -> None:
    """Gives counts in equal bins from ``low`` to ``high`` to loggers that keep histograms as such (TensorBoard's).

    Their ``experiment`` has ``add_histogram_raw``. On the first process; sums are those of the bins' centres.
    """
    edges = np.linspace(low, high, len(counts) + 1)
    n, centre = np.asarray(counts, dtype=float), (edges[1:] + edges[:-1]) / 2
    for logger in trainer.loggers if trainer.is_global_zero and n.sum() else []:
        if callable(add := getattr(getattr(logger, "experiment", None), "add_histogram_raw", None)):
            add(
                name, min=low, max=high, num=int(n.sum()), sum=float(n @ centre), sum_squares=float(n @ centre**2),
                bucket_limits=edges[1:].tolist(), bucket_counts=n.tolist(), global_step=trainer.global_step,
            )  # fmt: skip


def draw_histogram(axes: Any, entry: dict[str, Any]) -> None:
    """Shares of positives and of negatives by similarity.

    Args:
        axes: matplotlib's.
        entry: as :class:`ScoreHistograms` records it.
    """
    for name in ("positive", "negative"):
        counts = np.asarray(entry[name], dtype=float)
        edges = np.linspace(entry["low"], entry["high"], len(counts) + 1)
        axes.stairs(counts / max(counts.sum(), 1.0), edges, fill=True, alpha=0.5, label=f"{name}s")
    axes.set(xlabel="similarity", ylabel="share", title=f"step {entry['step']}")
    axes.legend()


def draw_map(axes: Any, entry: dict[str, Any]) -> None:
    """The two principal components, coloured by label where there is one.

    Args:
        axes: matplotlib's.
        entry: as :class:`EmbeddingSnapshots` records it.
    """
    z, label = entry["embedding"].float(), entry.get("label")
    finite = z.isfinite().all(1)
    places = principal(z[finite]).numpy()
    colours = None if label is None else label[finite].numpy()
    axes.scatter(places[:, 0], places[:, 1], s=9, c=colours, cmap=None if label is None else "tab10")
    axes.set(xticks=[], yticks=[], title=f"step {entry['step']}, principal components")


def principal(z: Tensor) -> Tensor:
    """The first two principal components ``[S, 2]`` of rows ``[S, F]``; zeros where there are fewer. Draws nothing."""
    if not len(z):
        return z.new_zeros(0, 2)
    u, s, _ = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    return torch.nn.functional.pad((u * s)[:, :2], (0, max(0, 2 - s.numel())))
