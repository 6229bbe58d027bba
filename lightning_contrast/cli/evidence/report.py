"""Tables, and the page and chart of a comparison of methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_contrast.cli.evidence.elsewhere import elsewhere
from lightning_contrast.cli.evidence.job import BASELINES
from lightning_contrast.cli.evidence.rows import ACCURACIES, COSTS, FIGURES, NAMES, Row, places, rows_of
from lightning_contrast.functional.whole_file import write_text

_ABOUT = """\
Every method trains the same encoder on the same data for the same budget ({setting}), in one process on one thread. \
What is scored are the features before the head, by the weights of the last step: nothing is picked along the way. \
Settings are those of the recipes, chosen on the validation split if at all; the test split is scored once, at the end.

`place` is by kNN: from the best to the worst place that the 95 % intervals over seeds leave open, and empty for a \
single run. Rows stand in alphabetical order, which says nothing. `alignment` and `uniformity` are of unit features (lower is \
closer, lower is more spread), `rank` is the entropy rank of their covariance, `seconds` those of one core in training, \
`wall clock` those that passed, `MB` the memory that training added. What a method does before its first step, such as \
training a teacher, comes out of the same budget, of seconds or of steps; `steps` are those of the encoder that is scored.
"""


def write_report(runs: Sequence[dict[str, Any]], folder: Path, setting: str) -> list[Path]:
    """Write ``evidence.md`` and ``evidence.png``; the paths.

    Raises:
        ValueError: without runs, or with runs on different data.
    """
    data = one_data_set(runs)
    folder.mkdir(parents=True, exist_ok=True)
    rows = rows_of(runs)
    page, chart = folder / "evidence.md", folder / "evidence.png"
    write_text(page, markdown(rows, data, setting))
    draw(rows, chart, f"Held-out accuracy on {data}", f"{setting}; bars: 95 % over seeds")
    return [page, chart]


def one_data_set(runs: Sequence[dict[str, Any]]) -> str:
    """Its name.

    Raises:
        ValueError: without runs, or with runs on different data.
    """
    data = sorted({run["data"] for run in runs})
    if len(data) != 1:
        raise ValueError(f"one table shows runs on one data set, got {data or 'none'}: use another --out.")
    return data[0]


def markdown(rows: Sequence[Row], data: str, setting: str) -> str:
    """The page: methods without labels, then those that see them, each beside the baselines."""
    baselines = [row for row in rows if row.slug in BASELINES]
    parts = [f"# Evidence: {data}\n", _ABOUT.format(setting=setting)]
    for title, labels in (("Trained without labels", False), ("Trained with labels", True)):
        own = [row for row in rows if row.slug not in BASELINES and row.labels is labels]
        if own:
            names = {row.slug: f"`{row.slug}`" for row in own}
            parts.append(f"## {title}\n\n{table('method', own, baselines, [*ACCURACIES, *FIGURES], names)}")
    listed = "\n".join(f"- `{slug}`: {line}." for slug, line in elsewhere().items())
    parts.append(
        f"## On other data\n\nThese recipes cannot stand in the tables: their data are others, or they make no features.\n\n{listed}\n"
    )
    parts.append("![Accuracy of every method, with intervals](evidence.png)\n")
    return "\n".join(parts)


def table(
    what: str, rows: Sequence[Row], baselines: Sequence[Row], figures: Sequence[str], names: dict[str, str]
) -> str:
    """In Markdown; rows get their places by the first figure, baselines none.

    Args:
        what: a row is.
        rows: in their order.
        baselines: above them.
        figures: columns, keys of ``NAMES``; costs follow.
        names: of rows, where not as they are.
    """
    columns = {**{key: NAMES[key] for key in figures}, **COSTS}
    place = places(rows, figures[0])
    lines = [
        f"| {what} | runs | place | " + " | ".join(columns.values()) + " |",
        "|---|--:|--:|" + "--:|" * len(columns),
    ]
    for row in [*baselines, *rows]:
        name = f"*{row.slug}*" if row.slug in BASELINES else names.get(row.slug, row.slug)
        cells = [_cell(row, key) for key in columns]
        lines.append(f"| {name} | {row.seeds} | {place.get(row.slug, '')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: Row, key: str) -> str:
    found = row.figures.get(key)
    if found is None or (key in COSTS and row.slug in BASELINES):
        return ""
    if key in COSTS:
        return f"{found.mean:.0f}"
    digits = {"rank": 1, "alignment": 2, "uniformity": 2}.get(key, 3)
    half = "" if found.half is None else f" ± {found.half:.{digits}f}"
    return f"{found.mean:.{digits}f}{half}"


def draw(rows: Sequence[Row], path: Path, title: str, note: str) -> Path:
    """One line a method, a dot an accuracy; methods with labels below those without."""
    from lightning_contrast.metrics.canvas import COLOURS, INK, new_figure, save_png, write_title

    order = sorted(rows, key=lambda row: (row.slug not in BASELINES, row.labels, row.slug))
    figure, axes = new_figure(8.5, 2.2 + 0.26 * len(order))
    for number, (key, name) in enumerate(ACCURACIES.items()):
        found = [row.figures[key] for row in order]
        axes.errorbar(
            [one.mean for one in found],
            range(len(order)),
            xerr=[one.half or 0.0 for one in found],
            fmt="o",
            markersize=5,
            linewidth=1.6,
            color=COLOURS[number],
            label=name,
        )
    names = [f"{row.slug} (labels)" if row.labels else row.slug for row in order]
    axes.set_yticks(range(len(order)), names, color=INK)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, test split")
    figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    write_title(axes, title, note)
    return save_png(figure, path)
