"""Run folders: ``<root>/<name>/<date>-<time>``, each with config.yaml, metrics.csv and checkpoints/last.ckpt."""

import argparse
import time
from pathlib import Path

from lightning_contrast.cli.errors import UserError

LAST = Path("checkpoints") / "last.ckpt"


def new_run(root: str | Path, name: str) -> Path:
    """Make the folder of a new run; two that start in the same second get different ones."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        folder = Path(root) / name / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise OSError(f"cannot make a new run folder under {Path(root) / name}.")


def runs_of(root: str | Path, name: str | None = None) -> list[Path]:
    """Folders that have a last checkpoint, the newest first; of one name, or of all."""
    found = Path(root).glob(f"{name or '*'}/*/{LAST}")
    return [path.parent.parent for path in sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True)]


def newest_checkpoint(root: str | Path, name: str | None = None) -> Path:
    """The last checkpoint of the newest run.

    Raises:
        UserError: if there is none; nothing is started anew in its place.
    """
    found = runs_of(root, name)
    if found:
        return found[0] / LAST
    what = f"{name}/*/{LAST}" if name else f"*/*/{LAST}"
    others = sorted({run.parent.name for run in runs_of(root)})
    hint = f" There are runs of {', '.join(others)}: --name picks one." if others else ""
    raise UserError(
        f"--ckpt_path last: no run to go on with in {Path(root).resolve()} ({what}).{hint} Give the path of a "
        "checkpoint, set --trainer.default_root_dir to the folder of your runs, or leave --ckpt_path out to start anew."
    )


def run_of(checkpoint: str | Path) -> Path | None:
    """The run folder that a checkpoint lies in, by its config.yaml."""
    for folder in list(Path(checkpoint).resolve().parents)[:2]:
        if (folder / "config.yaml").is_file():
            return folder
    return None


def add_checkpoint(parser: argparse.ArgumentParser, required: bool = False, default: str | None = None) -> None:
    """The arguments that :func:`checkpoint_at` takes, alike in every command."""
    told = "a checkpoint or run folder, or `last`: the newest run" + (f" (default: {default})" if default else "")
    parser.add_argument("--ckpt_path", required=required, default=default, help=told)
    parser.add_argument("--root", default="runs", help="where `last` looks for runs (default: runs)")


def checkpoint_at(given: str | Path, root: str | Path = "runs") -> Path:
    """The checkpoint that ``--ckpt_path`` names: ``last``, a file, a run folder, or a folder of runs (its newest).

    Raises:
        UserError: if there is none.
    """
    if str(given) == "last":
        return newest_checkpoint(root)
    path = Path(given)
    if path.is_dir():
        found = [path / LAST, *sorted(path.glob(f"**/{LAST}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)]
        path = next((one for one in found if one.is_file()), path)
        if path.is_dir():
            raise UserError(
                f"--ckpt_path {given}: no {LAST} in this folder or below; give a run folder or a checkpoint."
            )
    if not path.is_file():
        raise UserError(f"--ckpt_path {given}: there is no such file or folder. `last` is the newest run's checkpoint.")
    return path
