"""Finished runs: one JSON line each, the file replaced as a whole, so that it is never half a run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evidence.job import Job
from lightning_contrast.functional.whole_file import write_text

Record = dict[str, Any]
FIELDS = {"slug", "seed", "setting", "fingerprint", "labels", "steps", "curve", "curve_of", "val", "test"}
"""What a table needs; a run by an older version that lacks some of it counts as not run."""


class Records:
    """Args:
    path: of the file; its folder is made with the first run.

    Raises:
        UserError: for a line that is no run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Record] = []
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for number, line in enumerate(lines, 1):
            try:
                run = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: not a run ({error}). Delete that line to run it anew."
                ) from None
            if run.keys() >= FIELDS:
                self.runs.append(run)

    def has(self, job: Job) -> bool:
        """Whether this run is finished, with the settings of today."""
        return any(_key(run) == (job.slug, job.seed, job.setting, job.fingerprint()) for run in self.runs)

    def add(self, run: Record) -> None:
        """Keep a finished run; one with the same method, seed and setting gives way."""
        kept = [old for old in self.runs if _key(old)[:3] != _key(run)[:3]]
        self.runs = sorted([*kept, run], key=_key)
        write_text(self.path, "".join(json.dumps(one) + "\n" for one in self.runs))

    def current(self, known: Iterable[Job]) -> list[Record]:
        """The runs of these jobs, whatever their seed, whose settings have not changed since."""
        jobs = {(job.slug, job.setting): job for job in known}
        prints: dict[tuple[str, str], str] = {}
        out = []
        for run in self.runs:
            key = run["slug"], run["setting"]
            if key not in jobs:
                continue
            if key not in prints:
                prints[key] = jobs[key].fingerprint()
            if run["fingerprint"] == prints[key]:
                out.append(run)
        return out


def _key(run: Record) -> tuple[str, int, str, str]:
    return run["slug"], run["seed"], run["setting"], run["fingerprint"]
