"""A study: a question, and the rows that answer it. It is data: a YAML file, read here.

.. code-block:: yaml

    title: Small batches
    question: Does a queue help where batches are small?
    seconds: 25                    # of one core, a run
    steps: 100                     # in place of seconds: of the optimizer, equal for all rows
    points: 6                      # of each curve
    seeds: 3
    figures: [knn, linear]         # columns; rows are placed by the first
    scored_by: labels              # the protocol; without it, what fits the data; `before and after`: all recipes on texts, each on its own data
    finding: What came out.        # after the run, where it contradicts a claim
    baselines: [untrained encoder]
    every_row:                     # what all rows share, as in a recipe
      data: {subset: 10000}
    rows:
      - name: SimCLR, 16
        base: simclr               # a recipe; the rest is over it
        data: {batch_size: 16}
        add: [GeometryMonitor]     # callbacks behind those of every_row; trainer: {callbacks: ...} stands in their place
        line: SimCLR               # together with `at` and the study's `axis`: a line of the second chart
        at: 16

With ``like: NAME`` a study has all that another one says, but for its finding, and is over it: ``every_row`` changes what all
rows share, a row of the same name takes the place of the other's, further rows follow.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_contrast.cli.errors import UserError, nearest
from lightning_contrast.cli.evidence.job import BASELINES, OWN, PROTOCOLS, Job
from lightning_contrast.cli.evidence.rows import NAMES
from lightning_contrast.cli.recipes import FOLDER, config_path

POINTS = 6
"""Of a curve, if the study does not say."""
STUDIES = FOLDER / "studies"
_SETTINGS = ("base", "trainer", "model", "data")
_KEYS = (
    "like",
    "title",
    "question",
    "seconds",
    "steps",
    "points",
    "seeds",
    "figures",
    "baselines",
    "every_row",
    "rows",
    "axis",
    "scored_by",
    "finding",
)
_ROW = ("name", "line", "at", "add", *_SETTINGS)


@dataclass(frozen=True)
class StudyRow:
    """One row of a study.

    Args:
        name: in the table.
        configs: for :class:`Job`.
        line: of the second chart it is a point of.
        at: where on that line.
    """

    name: str
    configs: tuple[str, ...]
    line: str | None = None
    at: float | None = None


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        name: by which it is run; of its files.
        title: of its page.
        question: what it asks, and how; in Markdown.
        rows: what is compared, baselines first.
        figures: keys of scores, as columns.
        seconds: of one core, a run.
        seeds: runs a row.
        steps: of the optimizer, a run, in place of `seconds`.
        points: of each curve.
        axis: name of the second chart's axis.
        scored_by: protocol, of ``PROTOCOLS``; empty: what fits the data.
        finding: what came out, where it contradicts a claim; in Markdown, written after the run.
    """

    name: str
    title: str
    question: str
    rows: tuple[StudyRow, ...]
    figures: tuple[str, ...]
    seconds: float = 30.0
    seeds: int = 3
    steps: int | None = None
    points: int = POINTS
    axis: str | None = None
    scored_by: str = ""
    finding: str = ""

    def job(self, row: StudyRow, seed: int, seconds: float, steps: int | None, others: tuple[str, ...]) -> Job:
        """One run of a row."""
        return Job(row.name, seed, seconds, steps, others, row.configs, self.points, self.scored_by)


def studies() -> list[str]:
    """Names of those that are shipped."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def read_study(name: str) -> Study:
    """A shipped study by name, or a file.

    Raises:
        UserError: if there is neither, or for keys that are missing, unknown or of the wrong kind.
    """
    path, held, shared = _read(name)
    own = held.get("scored_by") == OWN
    _check_keys(held, f"--study {name}", _KEYS, ("title", "question", "rows", "steps" if own else "figures"))
    if own:
        from lightning_contrast.cli.evidence.own_rows import own_rows

        held["rows"] = own_rows(held["rows"] or [])
    if unknown := [key for key in held.get("figures", []) if key not in NAMES]:
        raise UserError(f"--study {name}: figures {unknown}: choose among {', '.join(NAMES)}.")
    if held.get("scored_by", "labels") not in PROTOCOLS:
        raise UserError(f"--study {name}: scored_by: {held['scored_by']!r}: choose among {', '.join(PROTOCOLS)}.")
    if not held["rows"]:
        raise UserError(f"--study {name}: it has no rows.")
    rows = [_row(name, row, shared) for row in held["rows"]]
    for baseline in held.get("baselines") or []:
        if baseline not in BASELINES:
            raise UserError(f"--study {name}: baselines: {baseline!r}: choose among {', '.join(BASELINES)}.")
    rows = [*(StudyRow(one, rows[0].configs) for one in held.get("baselines") or []), *rows]
    return Study(
        path.stem, held["title"], held["question"], tuple(rows), tuple(held.get("figures", [])), float(held.get("seconds", 30.0)),
        int(held.get("seeds", 3)), held.get("steps"), int(held.get("points", POINTS)), held.get("axis"),
        held.get("scored_by", ""), held.get("finding", ""),
    )  # fmt: skip


def _read(name: str, above: tuple[str, ...] = ()) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """Path and content of a study's file, what it is like included; and what all rows share, one over the other."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else STUDIES / f"{name}.yaml"
    if name in above:
        raise UserError(f"--study {above[0]}: `like:` leads in a circle: {' -> '.join((*above, name))}.")
    if not path.is_file():
        raise UserError(
            f"--study {name}: neither a file (.yaml) nor a shipped study{nearest(name, studies())}. "
            f"Shipped: {', '.join(studies())}."
        )
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"--study {name}: not valid YAML: {error}") from error
    _check_keys(held, f"--study {name}", _KEYS)
    every = held.get("every_row") or {}
    _check_keys(every, f"--study {name}, every_row", _SETTINGS)
    for row in held.get("rows") or []:
        _check_keys(row, f"--study {name}, rows", _ROW, ("name",))
    names = [row["name"] for row in held.get("rows") or []]
    if len(set(names)) < len(names):
        raise UserError(f"--study {name}: two rows have the same name: {', '.join(map(str, names))}.")
    if "like" not in held:
        return path, held, [every]
    _, other, shared = _read(str(held["like"]), (*above, name))
    rows = {row["name"]: row for row in (*(other.get("rows") or []), *(held.get("rows") or []))}
    return path, {**other, "finding": "", **held, "rows": list(rows.values())}, [*shared, every]


def _row(study: str, row: dict[str, Any], shared: list[dict[str, Any]]) -> StudyRow:
    parts = [*shared, row]
    base = next((part["base"] for part in reversed(parts) if part.get("base") is not None), None)
    if base is None:
        raise UserError(
            f"--study {study}, row {row['name']!r}: no `base:`, the recipe it changes; give it or every_row one."
        )
    settings = [{key: part[key] for key in _SETTINGS[1:] if key in part} for part in parts]
    if "add" in row:
        before = [part["trainer"]["callbacks"] for part in parts if "callbacks" in part.get("trainer", {})]
        settings.append({"trainer": {"callbacks": [*(before[-1] if before else []), *row["add"]]}})
    configs = (config_path(base), *(json.dumps(one) for one in settings if one))
    return StudyRow(str(row["name"]), configs, row.get("line"), row.get("at"))


def _check_keys(held: Any, where: str, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> None:
    if not isinstance(held, dict):
        raise UserError(f"{where}: a mapping is expected, got {type(held).__name__}.")
    for key in held:
        if key not in known:
            raise UserError(
                f"{where}: unknown key {key!r}{nearest(str(key), list(known))}. Allowed: {', '.join(known)}."
            )
    if absent := [key for key in needed if key not in held]:
        raise UserError(f"{where}: lacks {', '.join(absent)}.")
