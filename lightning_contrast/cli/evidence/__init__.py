"""``lightning-contrast evidence``: methods compared at an equal budget, and studies of one question each."""

import argparse
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError, nearest
from lightning_contrast.cli.evidence.job import BASELINES, Job, makes_features, on_shared_data
from lightning_contrast.cli.evidence.records import Record, Records
from lightning_contrast.cli.evidence.rows import NAMES
from lightning_contrast.cli.recipes import methods

RUNS = "runs.jsonl"
SECONDS, SEEDS = 180.0, 1


def main(args: list[str]) -> int:
    """Run what is not finished yet, then write table and chart."""
    from lightning_contrast.cli.evidence.study import read_study, studies

    parser = CommandParser(
        "evidence",
        examples=(
            "evidence simclr moco-v2 --budget 60 --seeds 3 --out evidence",
            "evidence --study few-shot --out evidence",
        ),
        description="Train methods on the same data, encoder, seeds and budget, one thread each, and score the last step: "
        "kNN, linear probe and ten labels a class of the test split, geometry, time, memory. Or run a study: rows that "
        f"answer one question. Finished runs are kept in OUT/{RUNS} (OUT/STUDY.jsonl): the same command goes on where it "
        "was stopped.",
        epilog="Anything else is taken as by `fit`, for all runs: --data.subset 10000, --data DigitsDataModule, ...",
        allow_abbrev=False,
    )
    parser.add_argument("slugs", nargs="*", metavar="SLUG", help="recipes by name, or `all`")
    parser.add_argument("--study", help=f"instead of recipes: {', '.join(studies())}, or a file (.yaml)")
    parser.add_argument(
        "--budget", type=float, help=f"seconds of one core a run (default: {SECONDS:g}, or the study's)"
    )
    parser.add_argument("--steps", type=int, help="equal optimizer steps instead of equal seconds")
    parser.add_argument("--seeds", type=int, help=f"runs a row; intervals need two (default: {SEEDS}, or the study's)")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence"), help="folder (default: docs/evidence)")
    options, others = parser.parse_known_args(_joined(args, {"help", *vars(parser.parse_args([]))}))
    for name, value in (("budget", options.budget), ("steps", options.steps), ("seeds", options.seeds)):
        if value is not None and not value > 0:
            raise UserError(f"--{name} {value}: must be above 0.")
    if bool(options.slugs) == (options.study is not None):
        raise UserError("give recipes by name (or `all`), or --study; `lightning-contrast evidence --help` says more.")
    for word in others:
        if not word.startswith("--"):
            raise UserError(f"{word}: neither a recipe nor an option; recipes come first.")
    given = tuple(others)
    if options.study is None:
        return methods_compared(options, given)
    command = shlex.join(["lightning-contrast", "evidence", *args])
    return study_run(read_study(options.study), options, given, command)


def methods_compared(options: argparse.Namespace, others: tuple[str, ...]) -> int:
    """The recipes that were asked for, beside the baselines."""
    from lightning_contrast.cli.evidence.report import write_report

    budget, seeds = options.budget or SECONDS, options.seeds or SEEDS

    def job(slug: str, seed: int = 0) -> Job:
        return Job(slug, seed, budget, options.steps, others)

    baselines = [one for one in BASELINES if one != "BM25"]  # it needs texts
    jobs = [*map(job, baselines), *(job(slug, seed) for seed in range(seeds) for slug in _asked(options.slugs))]
    known = [job(method.slug) for method in methods() if method.recipe]
    records = Records(options.out / RUNS)
    report = lambda runs: write_report(runs, options.out, jobs[0].setting)  # noqa: E731
    return compare(jobs, [*map(job, baselines), *known], records, report)


def study_run(study: Any, options: argparse.Namespace, others: tuple[str, ...], command: str) -> int:
    """The rows of a study."""
    from lightning_contrast.cli.evidence.job import OWN
    from lightning_contrast.cli.evidence.own_report import write_own
    from lightning_contrast.cli.evidence.study_report import write_study

    budget, seeds = options.budget or study.seconds, options.seeds or study.seeds
    steps = options.steps or (None if options.budget else study.steps)
    jobs = [study.job(row, seed, budget, steps, others) for seed in range(seeds) for row in study.rows]
    jobs = [job for job in jobs if job.slug not in ("raw pixels", "BM25") or job.seed == 0]  # nothing random in them
    records = Records(options.out / f"{study.name}.jsonl")
    write = write_own if study.scored_by == OWN else write_study
    report = lambda runs: write(study, runs, options.out, jobs[0].setting, command)  # noqa: E731
    return compare(jobs, jobs, records, report)


def compare(
    jobs: Sequence[Job],
    known: Iterable[Job],
    records: Records,
    report: Callable[[list[Record]], list[Path]],
    run: Callable[[Job], Record] | None = None,
) -> int:
    """Run the jobs that are not finished, one at a time, and report all of their setting; 1 if one failed.

    Args:
        jobs: of one setting.
        known: one of every row that the report shows, if there are records of it.
        records: of finished runs.
        report: writes table and chart; the paths.
        run: how a job is run; ``None`` is in a process of its own.
    """
    from rich.console import Console

    console, failed = Console(), []
    for number, job in enumerate(jobs, 1):
        name = f"[{number}/{len(jobs)}] {job.slug}, seed {job.seed}"
        if records.has(job):
            console.print(f"{name}: kept", highlight=False, markup=False)
            continue
        try:
            found = (run or _alone)(job)
        except Exception as error:
            failed.append(job.slug)
            console.print(f"{name}: failed: {error}", highlight=False, markup=False)
            continue
        records.add(found)
        key, value = next(iter(found["val"].items()))
        told = f"{name}: {NAMES.get(key, key)} {value:.3f} (validation), {found['steps']} steps"
        console.print(told, highlight=False, markup=False)
    runs = records.current(known)
    console.print("\n".join(map(str, report(runs) if runs else [])), highlight=False, soft_wrap=True, markup=False)
    return 1 if failed else 0


def _alone(job: Job) -> Record:
    """In a fresh process: its memory is its own, and it cannot take the others with it."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_all_start_methods, get_context

    from lightning_contrast.cli.evidence.run import run

    context: Any = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    # imports once, and makes each process from there; of no effect on a spawned one
    context.set_forkserver_preload([run.__module__, "lightning_contrast.cli.trainer"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(run, job).result()


def _joined(words: list[str], known: set[str]) -> list[str]:
    """``--name value`` of options that are not ours as ``--name=value``: the value is no recipe, and a setting is always
    written alike."""
    out: list[str] = []
    for word in words:
        before = out[-1] if out else ""
        theirs = before.startswith("--") and "=" not in before and before.removeprefix("--") not in known
        if theirs and not word.startswith("--"):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _asked(slugs: list[str]) -> list[str]:
    shipped = [method.slug for method in methods() if method.recipe]
    if slugs == ["all"]:
        return [slug for slug in shipped if on_shared_data(slug) and makes_features(slug)]
    for slug in slugs:
        if slug not in shipped:
            raise UserError(f"{slug}: not a recipe{nearest(slug, shipped)}. `lightning-contrast methods` lists all.")
        if not on_shared_data(slug):
            raise UserError(f"{slug}: on other data than the methods that are compared; make a study of it (--study).")
        if not makes_features(slug):
            raise UserError(f"{slug}: its encoder makes pictures, not features, and the comparison scores features.")
    return list(dict.fromkeys(slugs))
