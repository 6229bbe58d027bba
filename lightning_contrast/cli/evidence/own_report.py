"""The page of recipes that each train on data of their own: before and after."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_contrast.cli.evidence.by_own import GRADED, LOSS, SEARCH
from lightning_contrast.cli.evidence.rows import Figure, figure
from lightning_contrast.cli.evidence.study import Study
from lightning_contrast.functional.whole_file import write_text

_NAMES = {
    SEARCH: "nDCG@10 of a search among all documents",
    GRADED: "rank correlation of cosines with the pairs' scores",
    LOSS: "the recipe's own loss, lower is better",
}
_ABOUT = """\
Every run has {setting}, in one process on one thread. `before` is the encoder before the first step, `after` that of the \
last step, both on the same validation split; settings are the recipe's own, but for the size of the data. `seconds` are those \
of one core in training, `MB` the memory that training added. Figures of different recipes are not comparable: their data and \
tasks differ. `±` is half a 95 % interval over seeds, where there are several.
"""


def write_own(study: Study, runs: Sequence[dict[str, Any]], folder: Path, setting: str, command: str) -> list[Path]:
    """Write the study's page; its path.

    Args:
        study: which.
        runs: its own.
        folder: for the page, which gets the study's name.
        setting: of the runs.
        command: that runs it again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{study.name}.md"
    by_row = {row.name: [run for run in runs if run["slug"] == row.name] for row in study.rows}
    held = {name: own for name, own in by_row.items() if own}
    parts = [f"# {study.title}\n", f"{study.question.strip()}\n", _ABOUT.format(setting=setting)]
    for key, name in _NAMES.items():
        if own := {slug: rows for slug, rows in held.items() if rows[0]["curve_of"] == key}:
            parts.append(f"## By {name}\n\n{_table(own)}")
    stayed = ", ".join(f"`{slug}`" for slug, rows in held.items() if not improved(rows))
    parts.append(f"Not better than before training: {stayed or 'none'}.\n")
    if study.finding:
        parts.append(f"## What came out\n\n{study.finding.strip()}\n")
    write_text(page, "\n".join([*parts, f"```bash\n{command}\n```\n"]))
    return [page]


def improved(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether the last step is better than none, beyond the interval where there are several seeds."""
    sign = -1.0 if runs[0]["curve_of"] == LOSS else 1.0
    return figure([sign * (run["curve"][-1][2] - run["curve"][0][2]) for run in runs]).low > 0


def _table(held: dict[str, list[dict[str, Any]]]) -> str:
    lines = ["| recipe | data | before | after | steps | seconds | MB |", "|---|---|--:|--:|--:|--:|--:|"]
    for slug, runs in held.items():
        before, after = (_cell(figure([run["curve"][at][2] for run in runs])) for at in (0, -1))
        costs = [f"{figure([run[key] for run in runs]).mean:.0f}" for key in ("steps", "seconds", "memory")]
        lines.append(f"| `{slug}` | {runs[0]['data']} | {before} | {after} | {' | '.join(costs)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Figure) -> str:
    return f"{found.mean:.3f}" + ("" if found.half is None else f" ± {found.half:.3f}")
