"""What a run folder holds, read so that nothing in it can stop the report."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.runs import LAST
from lightning_contrast.metrics.curves import Curve, read_metrics

MARKS = ("metrics.csv", "config.yaml", str(LAST), "run.json", "embeddings.npz")


@dataclass
class RunFolder:
    """One run. ``notes`` say what was missing or broken, for the reader of the page."""

    path: Path
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_run(folder: Path) -> bool:
    """Whether a folder has anything that a run leaves."""
    return any((folder / mark).is_file() for mark in MARKS)


def find_run(given: str) -> Path:
    """The folder itself, or the newest run in it, up to two folders down.

    Raises:
        UserError: if there is none.
    """
    path = Path(given)
    if not path.exists():
        raise UserError(f"{given}: there is no such folder. Give a run folder, such as runs/simclr/20250101-120000.")
    if not path.is_dir():
        raise UserError(f"{given}: is a file; give the run folder it lies in: {path.parent}.")
    if is_run(path):
        return path
    found = [run for pattern in ("*", "*/*") for run in path.glob(pattern) if run.is_dir() and is_run(run)]
    if not found:
        raise UserError(
            f"{given}: no run in it, nor in its folders (looked for {', '.join(MARKS)}). `lightning-contrast fit` makes one."
        )
    return max(found, key=lambda run: max((run / m).stat().st_mtime_ns for m in MARKS if (run / m).is_file()))


def read_run(folder: Path) -> RunFolder:
    """All there is to read; what is broken is noted and left out."""
    run = RunFolder(folder, folder.resolve().parent.name or folder.name)
    run.config = _mapping(run, "config.yaml", yaml.safe_load, "the settings cannot be shown")
    run.record = _mapping(run, "run.json", json.loads, "command and environment are not known")
    run.results = _mapping(run, "results.json", json.loads, None)
    scores = _mapping(run, "scores.json", json.loads, None).get("bins", [])
    run.scores = [entry for entry in scores if _is_histogram(entry)] if isinstance(scores, list) else []
    try:
        run.curves = read_metrics(folder / "metrics.csv")
        _note_broken_rows(run)
    except (OSError, ValueError, csv.Error) as error:
        missing = isinstance(error, FileNotFoundError)
        run.notes.append(f"no curves: {'there is no metrics.csv' if missing else error}.")
    if isinstance(name := run.config.get("name"), str) and name:
        run.name = name
    return run


def named(runs: list[RunFolder]) -> list[RunFolder]:
    """The runs, each with a name of its own."""
    given = [run.name for run in runs]
    for run in runs:
        if given.count(run.name) > 1:
            run.name = f"{run.name} {run.path.resolve().name}"
    for number, run in enumerate(runs):
        if any(run.name == other.name for other in runs[:number]):
            run.name = f"{run.name} ({number + 1})"
    return runs


def _mapping(run: RunFolder, name: str, parse: Callable[[str], Any], absent: str | None) -> dict[str, Any]:
    path = run.path / name
    if not path.is_file():
        if absent:
            run.notes.append(f"there is no {name}: {absent}.")
        return {}
    try:
        held = parse(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, yaml.YAMLError, OSError, RecursionError):
        run.notes.append(f"{name} cannot be read (half-written?){f': {absent}' if absent else ''}.")
        return {}
    return held if isinstance(held, dict) else {}


def _note_broken_rows(run: RunFolder) -> None:
    if not run.curves:
        run.notes.append("metrics.csv has no figures yet: training stopped before the first was logged.")
    with (run.path / "metrics.csv").open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.reader(file))
    if len(rows) > 1 and rows[-1] and len(rows[-1]) != len(rows[0]):
        run.notes.append("the last row of metrics.csv is cut short and was read as far as it goes.")
    bad = {name for row in rows[1:] for name, text in zip(rows[0], row, strict=False) if text.lower() in _NOT_FINITE}
    if bad:
        run.notes.append(f"not finite at some steps, which the curves leave out: {', '.join(sorted(bad))}.")


_NOT_FINITE = {"nan", "inf", "-inf", "infinity", "-infinity"}


def _is_histogram(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    numbers = all(isinstance(entry.get(key), (int, float)) for key in ("step", "low", "high"))
    counts = [entry.get(key) for key in ("positive", "negative")]
    lists = all(isinstance(c, list) and c and all(isinstance(x, (int, float)) for x in c) for c in counts)
    return numbers and lists and entry["low"] < entry["high"]
