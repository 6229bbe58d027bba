"""One run, in a process of its own: train for the budget, then score the last step, the test split once."""

import itertools
import json
import logging
import statistics
from collections.abc import Callable
from importlib import import_module
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from lightning_contrast.callbacks.embedding import evaluation_mode
from lightning_contrast.cli.evidence import by_own
from lightning_contrast.cli.evidence.clock import Clock
from lightning_contrast.cli.evidence.job import BASELINES, OWN, PROTOCOLS, Job, parts_of
from lightning_contrast.data.resume import isolated_random_state

WARM, TIMED = 5, 15
"""Steps before the clock that turns seconds into steps, and steps on it."""


def run(job: Job) -> dict[str, Any]:
    """Train and score; what comes back is a line of the records."""
    from lightning_contrast.cli.evaluate import source_of
    from lightning_contrast.cli.quiet import quiet_lightning

    quiet_lightning()
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    torch.set_num_threads(1)
    if job.protocol == OWN:
        return by_own.run(job)
    steps = _steps(job)
    clock = Clock(steps, job.seconds, job.points)
    cli = made(job, -1 if steps is None else steps, clock)
    before = steps_before(cli)
    if job.steps is not None and steps and before:
        if before >= job.steps:
            raise ValueError(
                f"--steps {job.steps}: {before} are taken before the first step, so none is left. Give more."
            )
        clock = Clock(job.steps - before, job.seconds, job.points)
        cli = made(job, job.steps - before, clock)
    data, module = cli.datamodule, cli.model
    protocol = protocol_of(job, data)
    if steps == 0:
        data.prepare_data()
        data.setup("fit")
        if job.points:  # a level, by the same score as the curves
            clock.curve = [(0, 0.0, protocol.look(embedder_of(job, module, protocol), data))]
    else:
        clock.look = lambda: _in_training(protocol, module, data)
        cli.trainer.fit(module, data)
    data.setup("test")
    return {
        "slug": job.slug,
        "seed": job.seed,
        "setting": job.setting,
        "fingerprint": job.fingerprint(),
        "labels": job.slug not in BASELINES and learns_labels(cli),
        "steps": cli.trainer.global_step,
        "seconds": round(clock.seconds, 2),
        "wall": round(clock.wall, 2),
        "memory": round(clock.memory, 1),
        "data": source_of(data).partition(" in ")[0],
        "curve": clock.curve,
        "curve_of": protocol.CURVE,
        **protocol.scores(embedder_of(job, module, protocol), data, job.seed),
    }


def protocol_of(job: Job, data: Any) -> Any:
    """The module that scores: as the job says, else by what the data have."""
    name = job.protocol or ("search" if hasattr(data, "corpus_dataloader") else "labels")
    return import_module(f"lightning_contrast.cli.evidence.{PROTOCOLS[name]}")


def learns_labels(cli: Any) -> bool:
    """Whether labels reach the weights: by the objective, a callback such as a teacher's training, or how data are made."""
    parts = (cli.model.objective, *cli.trainer.callbacks, cli.datamodule)
    return any("label" in getattr(part, "requires", ()) for part in parts)


def steps_before(cli: Any) -> int:
    """Optimizer steps that callbacks take before the module's first, such as those of a teacher: of the same budget."""
    return sum(getattr(callback, "steps_before", 0) for callback in cli.trainer.callbacks)


def embedder_of(job: Job, module: Any, protocol: Any) -> Callable[[Tensor], Tensor] | None:
    """What makes features of inputs, for a protocol; None for a baseline that has none."""
    from lightning_contrast.cli.protocol import embedder

    if job.slug == "BM25":
        return None
    return nn.Flatten() if job.slug == "raw pixels" else getattr(protocol, "embedder", embedder)(module)


def _in_training(protocol: Any, module: Any, data: Any) -> float:
    """A point of the curve, without a trace in the training."""
    make = getattr(protocol, "embedder", lambda module: module.embed)
    with isolated_random_state(0), evaluation_mode(module):
        return float(protocol.look(make(module), data))


def _steps(job: Job) -> int | None:
    """The budget in steps, known before training so that schedules end with it; None where nothing asks for it.

    What comes before the first step, such as a teacher's training, is taken off the seconds.
    """
    if job.slug in BASELINES:
        return 0
    if job.steps is not None:
        return job.steps
    if not parts_of(job.settings()).get("lr_scheduler"):
        return None
    clock = Clock(WARM + TIMED)
    cli = made(job, WARM + TIMED, clock)
    cli.trainer.fit(cli.model, cli.datamodule)
    marks = clock.marks[-TIMED - 1 :]
    each = statistics.median(b - a for a, b in itertools.pairwise(marks))
    return max(1, int((job.seconds - clock.before(each)) / each))


def made(job: Job, steps: int, clock: Clock, validates: bool = False) -> Any:
    """Module, data and Trainer of a run; ``validates``: on demand alone."""
    from lightning_contrast.cli.trainer import ContrastiveCLI

    settings = job.settings()
    settings["seed_everything"] = job.seed
    settings["trainer"] = {
        **settings["trainer"],
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": -1,
        "max_steps": steps,
        **({"check_val_every_n_epoch": 10**9} if validates else {"limit_val_batches": 0}),
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    cli = ContrastiveCLI(args=[f"--config={json.dumps(settings)}", *job.others], run=False)
    callbacks: list[pl.Callback] = cli.trainer.callbacks  # type: ignore[attr-defined]
    callbacks.insert(0, clock)
    return cli
