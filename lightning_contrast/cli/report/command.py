"""The command: find the runs, look at their embeddings, write the page."""

import argparse
import warnings
from pathlib import Path

from rich.console import Console

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.report.look import Look, look_at
from lightning_contrast.cli.report.page import page_of
from lightning_contrast.cli.report.run_folder import RunFolder, find_run, named, read_run
from lightning_contrast.functional.whole_file import write_text

LIMIT = 19_000_000  # bytes; a page above it is made again from half the sample
MOST = 5000  # items of a run, however many are asked for
LEAST = 100


def main(args: list[str]) -> int:
    """Write the report of the runs that ``args`` name."""
    options, others = _parser().parse_known_args(args)
    if options.sample < 10:
        raise UserError(f"--sample {options.sample}: at least 10 items are needed for a map (1000 are usual).")
    stray = [word for word in others if not word.startswith("--") or "=" not in word]
    if stray:
        raise UserError(f"report does not know {stray[0]!r}. Options for the data go as one word: --data.root=FOLDER.")
    folders = [find_run(path) for path in options.runs]
    if twice := {str(f) for f in folders if folders.count(f) > 1}:
        raise UserError(f"{sorted(twice)[0]} was given twice; give each run once.")
    runs = named([read_run(folder) for folder in folders])
    out = Path(options.out) if options.out else runs[0].path / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out}: is a folder; give the name of a file, such as {out / 'report.html'}.")
    console = Console(stderr=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page = fitting_page(runs, min(options.sample, MOST), options.seed, others, options.no_embed)
    write_text(out, page)
    for run in runs:
        for note in run.notes:
            console.print(f"{run.name}: {note}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    print(f"{out}: {len(page.encode()) / 1e6:.1f} MB")
    return 0


def fitting_page(runs: list[RunFolder], sample: int, seed: int, others: list[str], blind: bool = False) -> str:
    """The page; of fewer items where it would be too large."""
    written = [list(run.notes) for run in runs]
    while True:
        for run, notes in zip(runs, written, strict=True):
            run.notes = list(notes)
        looks: list[Look | None] = [look_at(run, sample, seed, others, blind) for run in runs]
        page = page_of(runs, looks)
        if len(page.encode()) <= LIMIT or sample <= LEAST:
            return page
        sample = max(LEAST, sample // 2)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "report",
        examples=(
            "report runs                                      the newest run",
            "report runs/simclr runs/moco-v2 --out both.html",
        ),
        description="One HTML file that shows a run, or several side by side: settings, curves beside chance, similarities "
        "through training, a map of held-out items, neighbours, errors, figures with intervals. Opens anywhere, offline.",
        epilog="--data.root=FOLDER and the like say where the run's data are now, if they moved.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR", help="a run folder, or a parent: its newest run")
    parser.add_argument("--out", help="the file (default: report.html in the first run's folder)")
    parser.add_argument(
        "--sample", type=int, default=1000, help=f"held-out items to look at (default: 1000, most: {MOST})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample, the map and the intervals (default: 0)")
    parser.add_argument(
        "--no_embed", action="store_true", help="only what the folder holds: do not open the checkpoint"
    )
    return parser
