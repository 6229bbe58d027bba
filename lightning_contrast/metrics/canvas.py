"""The common look of the pictures; figures are made without pyplot, so the user's backend stays as it is."""

import os
from pathlib import Path
from typing import Any

from lightning_contrast.functional.whole_file import whole_file

# Ten colours that stay apart with any colour vision (Petroff, "Accessible Color Sequences", 2021).
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
INK, FAINT, GRID = "#24292f", "#667080", "#e3e6ea"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Make a figure of our look with a grid of axes (one: the axes themselves), ready for the Agg canvas.

    Args:
        width: inches.
        height: inches.
        rows: of axes.
        columns: of axes.

    Returns:
        Figure, and axes or an array [rows * columns] of axes.

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.grid(color=GRID, linewidth=0.8)
        one.set_axisbelow(True)
        one.tick_params(colors=FAINT, labelsize=9, length=0)
        one.xaxis.label.set(color=FAINT, fontsize=10)
        one.yaxis.label.set(color=FAINT, fontsize=10)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            one.spines[side].set_color(GRID)
    return figure, axes[0] if rows * columns == 1 else axes


def write_title(axes: Any, title: str, note: str = "") -> None:
    """Write a bold title and, below it, a fainter note; the dollar sign is text, not mathematics."""
    axes.set_title(title.replace("$", r"\$"), loc="left", color=INK, fontweight="bold", pad=22 if note else 8)
    if note:
        text = note.replace("$", r"\$")
        axes.annotate(text, (0, 1), (0, 6), "axes fraction", "offset points", color=FAINT, fontsize=9)


def save_png(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Write the figure to a PNG at once or not at all.

    Raises:
        FileNotFoundError: the folder does not exist.

    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"folder {target.parent} does not exist; make it before drawing {target.name}.")
    with whole_file(target) as file:
        figure.savefig(file, format="png", dpi=150)
    return target
