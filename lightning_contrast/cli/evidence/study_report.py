"""The page and the chart of a study."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_contrast.cli.evidence.job import BASELINES
from lightning_contrast.cli.evidence.report import one_data_set, table, write_text
from lightning_contrast.cli.evidence.rows import NAMES, Figure, Row, figure, rows_of
from lightning_contrast.cli.evidence.study import Study

_ABOUT = """\
Data: {data}. Every run has the same budget ({setting}), in one process on one thread; what the rows do before the first \
step, such as searching for negatives, counts. Scored are the weights of the last step, on the test split, once; curves show \
{curve} on the same part of the validation split for all rows, so that their ends may differ from the table. `±` is half a 95 % interval over seeds. `place` is by {first}: from the best to the worst place that \
these intervals leave open, so that rows whose intervals overlap share places, and empty for a single run. `seconds` are \
those of one core in training, `wall clock` those that passed, `MB` the memory that training added.
"""


def write_study(study: Study, runs: Sequence[dict[str, Any]], folder: Path, setting: str, command: str) -> list[Path]:
    """Write the study's page and chart; the paths.

    Args:
        study: which.
        runs: its own.
        folder: for both, which get the study's name.
        setting: of the runs.
        command: that runs it again.

    Raises:
        ValueError: without runs, or with runs on different data.
    """
    data = one_data_set(runs)
    folder.mkdir(parents=True, exist_ok=True)
    page, chart = folder / f"{study.name}.md", folder / f"{study.name}.png"
    known = {row.slug: row for row in rows_of(runs)}
    rows = [known[row.name] for row in study.rows if row.name in known]
    write_text(page, markdown(study, rows, data, setting, command, NAMES[runs[0]["curve_of"]]))
    budget = setting.partition(" --")[0]
    draw(study, rows, runs, chart, f"{budget}; bars and bands: 95 % over seeds")
    return [page, chart]


def markdown(study: Study, rows: Sequence[Row], data: str, setting: str, command: str, curve: str) -> str:
    """Question, table, curves, and how to run it again."""
    first = NAMES[study.figures[0]]
    baselines = [row for row in rows if row.slug in BASELINES]
    own = [row for row in rows if row.slug not in BASELINES]
    return "\n".join(
        [
            f"# {study.title}\n",
            f"{study.question.strip()}\n",
            _ABOUT.format(data=data, setting=setting, first=first, curve=curve),
            table("", own, baselines, study.figures, {}),
            *([f"## What came out\n\n{study.finding.strip()}\n"] if study.finding else []),
            f"![{curve} over training time{'' if study.axis is None else f'; {first} by {study.axis}'}]({study.name}.png)\n",
            f"```bash\n{command}\n```\n",
        ]
    )


def draw(study: Study, rows: Sequence[Row], runs: Sequence[dict[str, Any]], path: Path, note: str) -> Path:
    """The validation score over training time, and the test score along the study's axis, if it has one."""
    from lightning_contrast.metrics.canvas import new_figure, save_png

    panels = 1 if study.axis is None else 2
    figure_, axes = new_figure(7.2 * panels, 5.4 + 0.12 * len(rows), 1, panels)
    panel = axes if panels == 1 else axes[0]
    _draw_curves(panel, study, rows, runs, note)
    handles, labels = panel.get_legend_handles_labels()
    columns = 3 if panels == 2 or max(map(len, labels)) <= 26 else 2  # three long names are wider than one panel
    figure_.legend(handles, labels, frameon=False, fontsize=9, loc="outside lower center", ncols=columns)
    if panels == 2:
        _draw_lines(axes[1], study, {row.slug: row for row in rows})
    return save_png(figure_, path)


def _draw_curves(axes: Any, study: Study, rows: Sequence[Row], runs: Sequence[dict[str, Any]], note: str) -> None:
    from lightning_contrast.metrics.canvas import COLOURS, FAINT, write_title

    key, dashes = runs[0]["curve_of"], iter(((0, (4, 3)), (0, (1, 2)), (0, (6, 2, 1, 2))))
    levels: list[float] = []
    trained = [row.slug for row in rows if row.slug not in BASELINES]
    for row in rows:
        own = [run for run in runs if run["slug"] == row.slug]
        if row.slug in BASELINES:
            levels.append(figure([run["curve"][0][2] for run in own]).mean)
            axes.axhline(levels[-1], color=FAINT, linestyle=next(dashes), linewidth=1.3, label=row.slug)
            continue
        points = curve_of(own)
        turn, number = divmod(trained.index(row.slug), len(COLOURS))  # colours begin anew with another marker
        colour, marker = COLOURS[number], "os^D"[turn % 4]
        x, y = [at for at, _ in points], [one for _, one in points]
        levels += [one.mean for one in y]
        means, size = [one.mean for one in y], 5.5 if len(x) == 1 else 3.5
        axes.plot(x, means, color=colour, linewidth=2, marker=marker, markersize=size, label=row.slug)
        if len(x) == 1 and y[0].half is not None:  # a band needs two points
            axes.errorbar(x, means, yerr=[y[0].half], fmt="none", ecolor=colour, linewidth=1.6, capsize=3)
        elif any(one.half is not None for one in y):
            axes.fill_between(x, [o.low for o in y], [o.high for o in y], color=colour, alpha=0.12, linewidth=0)
    # By the means: a band over two seeds may be wider than all there is to see.
    margin = 0.15 * (max(levels) - min(levels)) + 0.005
    axes.set_ylim(max(0.0, min(levels) - margin), min(1.0, max(levels) + margin))
    axes.set(xlabel="seconds of one core in training", ylabel=f"{NAMES[key]}, validation split")
    write_title(axes, study.title, note)


def curve_of(runs: Sequence[dict[str, Any]]) -> list[tuple[float, Figure]]:
    """Mean seconds, and the score over seeds, at each point that all runs have."""
    curves = [{int(point): (seconds, score) for point, seconds, score in run["curve"]} for run in runs]
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    found = [[curve[point] for curve in curves] for point in shared]
    return [(figure([at for at, _ in one]).mean, figure([score for _, score in one])) for one in found]


def _draw_lines(axes: Any, study: Study, rows: dict[str, Row]) -> None:
    from lightning_contrast.metrics.canvas import COLOURS, write_title

    key = study.figures[0]
    lines = list(dict.fromkeys(row.line for row in study.rows if row.line is not None))
    for number, line in enumerate(lines):
        at = [(row.at, rows[row.name].figures[key]) for row in study.rows if row.line == line and row.name in rows]
        axes.errorbar(
            [x for x, _ in at],
            [one.mean for _, one in at],
            yerr=[one.half or 0.0 for _, one in at],
            fmt="o-",
            markersize=5,
            linewidth=1.8,
            capsize=3,
            color=COLOURS[number],
            label=line,
        )
    axes.set_xticks(sorted({row.at for row in study.rows if row.at is not None}))
    axes.set(xlabel=study.axis, ylabel=f"{NAMES[key]}, test split")
    write_title(axes, f"By {study.axis}")
    if lines:
        axes.legend(frameon=False, fontsize=9)
