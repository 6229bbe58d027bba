"""Measure, and write `docs/benchmarks.md` with its picture.

    python -m benchmarks                      every table
    python -m benchmarks infonce mining       some
    python -m benchmarks --quick              without the cases that take minutes

The peers are installed on first use (several GB) into the folder given by --peers. Nothing else should be
running: times are process CPU time of one thread, and ratios within a row come from one interleaved run.
Figures are kept case by case, so an interrupted run goes on where it is started again with the tables left.
"""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import tables
from benchmarks.environment import interpreter, machine, versions
from benchmarks.report import write

NO_FAULTS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}
"""Memory that glibc once got it keeps: plain PyTorch without the page faults that large temporaries cost it."""

ORDER = (
    "whole", "infonce", "clip", "ntxent", "supcon", "soft_targets", "queue", "extras", "mining", "hard_negatives",
    "gradient_cache", "fine_tuning", "knn", "probe", "augmentation", "simclr", "overhead",
)  # fmt: skip


def run(python: Path, *arguments: str, **environment: str) -> Iterator[dict[str, Any]]:
    """The figures of each case of a table, as they come."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), "PYTHONWARNINGS": "ignore"} | environment
    command = [str(python), "-m", "benchmarks.measure", *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if line.startswith('{"case"'):
                print(f"  {line.rstrip()}", flush=True)
                yield json.loads(line)


def add(cases: dict[str, Any], found: dict[str, Any], fresh: bool) -> None:
    """Put the figures of one case where they belong: `fresh` ones replace the row, others join it."""
    name = found.pop("case")
    row = found if fresh else cases.get(name, {"methods": {}})
    if not fresh:
        for method, figures in found["methods"].items():
            row["methods"].setdefault(method, {}).update(figures)
    cases[name] = row


def save(results: dict[str, Any], path: Path) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def main() -> None:
    every = sorted((m.name for m in pkgutil.iter_modules(tables.__path__)), key=ORDER.index)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"any of {', '.join(every)}")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--peers", type=Path, default=Path(".peers"), help="environment of the peers")
    parser.add_argument(
        "--results", type=Path, default=Path("benchmarks/results.json"), help="figures, kept and updated"
    )
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where page and picture go")
    parser.add_argument("--report-only", action="store_true", help="write the page from the figures kept")
    options = parser.parse_args()
    unknown = set(options.tables) - set(every)
    if unknown:
        parser.error(f"no table named {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    if not options.report_only:
        python = interpreter(options.peers)
        results |= {"versions": versions(python), "machine": machine()}
        size = "quick" if options.quick else "full"
        for name in options.tables or every:
            cases = results.setdefault("tables", {}).setdefault(name, {})
            for mode, environment in (("all", {}), ("kept", NO_FAULTS)):
                print(f"{name}, {mode}", flush=True)
                for found in run(python, name, size, mode, **environment):
                    add(cases, found, fresh=mode == "all")
                    save(results, options.results)
    known = results.get("tables", {})
    write(results | {"tables": {name: known.get(name, {}) for name in every}}, options.docs)


if __name__ == "__main__":
    main()
