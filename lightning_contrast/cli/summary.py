"""What is told at the end of a fit."""

from pathlib import Path

import lightning.pytorch as pl
from rich.console import Console
from rich.table import Table

from lightning_contrast.cli.progress import LiveFigures
from lightning_contrast.cli.runs import LAST


def after_fit(trainer: pl.Trainer, run: Path, next_steps: bool = True) -> None:
    """The last figures, where they lie, and what to do next."""
    console = Console()
    figures = {k: float(v) for k, v in trainer.callback_metrics.items() if not k.endswith(("_step", "_epoch"))}
    table = Table(show_header=False, box=None)
    chance = getattr(trainer.progress_bar_callback, "chance", None)
    for name, value in sorted(figures.items()):
        beside = f"(chance {chance:.4g})" if name == "train/loss" and chance is not None else ""
        table.add_row(name, f"{value:.4g}", beside)
    if figures:
        console.print(f"Step {trainer.global_step}{_pace(trainer)}", highlight=False)
        console.print(table)
        _leave_figures(trainer, run, figures)
    if next_steps:
        tell_next(console, run)


def tell_next(console: Console, run: Path) -> None:
    """Paths stand alone on their lines, so that they can be copied."""
    lines = [f"Run folder: {run}"]
    if (run / LAST).is_file():
        lines += [
            "Next:",
            f"  lightning-contrast evaluate --ckpt_path {run / LAST}",
            f"  lightning-contrast report {run}",
        ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def tell_how_to_go_on(run: Path) -> None:
    """After a stop, where there is something to go on from."""
    if (run / LAST).is_file() and (run / "config.yaml").is_file():
        told = f"Go on with:\n  lightning-contrast fit --config {run / 'config.yaml'} --ckpt_path {run / LAST}"
        Console(stderr=True).print(told, highlight=False, soft_wrap=True, markup=False)


def _pace(trainer: pl.Trainer) -> str:
    """How long it took, and how fast that was."""
    live = trainer.progress_bar_callback
    if not isinstance(live, LiveFigures) or not live.seconds or not live.samples:
        return ""
    minutes, seconds = divmod(round(live.seconds), 60)
    return f", {minutes}:{seconds:02d} minutes, {live.samples / live.seconds:,.0f} {live.unit} a second"


def _leave_figures(trainer: pl.Trainer, run: Path, figures: dict[str, float]) -> None:
    """A run shorter than the logging interval has figures too."""
    if not (run / "metrics.csv").is_file():
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=max(trainer.global_step - 1, 0))
            logger.save()
