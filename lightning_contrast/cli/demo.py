"""``lightning-contrast demo``: the whole main job, once, in minutes."""

import json
import os
import time
from pathlib import Path
from typing import Any

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.functional.whole_file import write_text

EPOCHS = 2


def main(args: list[str]) -> int:
    """Pre-train, evaluate, draw, tell."""
    parser = CommandParser(
        "demo",
        examples=(
            "demo",
            "demo --epochs 10 --data DigitsDataModule",
        ),
        description="Pre-train a small encoder on Fashion-MNIST without labels (the recipe simclr on a small budget), "
        "evaluate it on held-out images, and draw what it learned. Where Fashion-MNIST cannot be reached, on "
        "scikit-learn's digits.",
        epilog="Anything else is taken as by `fit`, such as --data.root FOLDER.",
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help=f"of training (default: {EPOCHS})")
    parser.add_argument("--seed", type=int, default=0, help="of everything (default: 0)")
    parser.add_argument("--root", default="runs", help="where the run folder is made (default: runs)")
    options, others = parser.parse_known_args(args)
    if options.epochs < 1:
        raise UserError(f"--epochs {options.epochs}: must be at least 1.")
    start = time.monotonic()

    from rich.console import Console

    console = Console()
    console.print("Pre-training a small encoder on pictures of clothes, [bold]without their labels[/] ...")
    from lightning_contrast.cli import trainer

    _share_the_machine(console)
    cli = trainer.run(
        ["fit", "--config=simclr", "--name=demo", f"--trainer.max_epochs={options.epochs}",
         f"--seed_everything={options.seed}", f"--trainer.default_root_dir={options.root}", *others],
        tell_next=False,
    )  # fmt: skip
    assert cli.run_dir is not None
    _evaluate(console, cli, cli.run_dir, options.seed)
    console.print(f"{time.monotonic() - start:.0f} seconds in all.", highlight=False)
    return 0


def _share_the_machine(console: Any) -> None:
    """Two threads that wait for each other on busy cores are ten times slower than one."""
    import torch

    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > cores / 2 and torch.get_num_threads() > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
        console.print(f"The machine is busy (load {busy:.1f} on {cores} cores): one thread. It will take longer.")


def _evaluate(console: Any, cli: Any, run: Path, seed: int) -> None:
    from lightning_contrast.cli.evaluate import source_of, table_of
    from lightning_contrast.cli.protocol import compare
    from lightning_contrast.cli.runs import LAST
    from lightning_contrast.data.fashion_mnist import CLASSES
    from lightning_contrast.metrics.curves import plot_training_curves
    from lightning_contrast.metrics.embedding_map import plot_embedding_map

    data = cli.datamodule
    console.print("Evaluating on held-out images, beside raw pixels ...")
    rows, z, labels = compare(cli.model, data, seed)
    write_text(
        run / "results.json",
        json.dumps({"data": source_of(data), "samples": len(labels), "results": rows}, indent=2) + "\n",
    )
    names = CLASSES if source_of(data).startswith("Fashion-MNIST in") else None
    plot_embedding_map(z, labels, run / "map.png", names=names, title="What the encoder learned: held-out images")
    plot_training_curves(run / "metrics.csv", run / "curves.png", title="Training")
    console.print(f"\n{source_of(data)}", highlight=False, soft_wrap=True, markup=False)
    console.print(table_of(rows, f"Accuracy on {len(labels)} held-out images"))
    told = [
        f"Run folder: {run}",
        f"  map.png          the {len(labels)} held-out images as the encoder sees them",
        "  curves.png       loss and health through training; the numbers are in metrics.csv",
        "  results.json     this table",
        f"  {LAST}",
        "Next:",
        "  lightning-contrast fit --config simclr                  the full budget; also moco-v2, supcon",
        "  lightning-contrast fit --config simclr --data ImageFolderDataModule --data.root YOUR_PICTURES \\",
        "      --model.encoder.channels 3",
        f"  lightning-contrast report {run}",
        "  lightning-contrast methods                              what else there is",
    ]
    console.print("\n".join(told), highlight=False, soft_wrap=True, markup=False)
