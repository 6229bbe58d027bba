"""``lightning-contrast compare``: which of several models is better on the same items, and how sure that is."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from lightning_contrast.callbacks.embedding import first_input
from lightning_contrast.cli.by_pairs import of_queries
from lightning_contrast.cli.by_retrieval import among_themselves, labels_of
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evaluate import opened, source_of, validation_batches
from lightning_contrast.cli.one_process import in_one_process
from lightning_contrast.cli.protocol import bank_loader, embedder
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import checkpoint_at, run_of
from lightning_contrast.data.embedding_table import read_embeddings
from lightning_contrast.functional.knn import knn_predict
from lightning_contrast.functional.paired import PairedDifference, paired_difference
from lightning_contrast.functional.ridge import ridge_probe

FILES = (".npz", ".parquet")
SEEDS = ("seed", "seed_everything", "default_root_dir", "logger", "ckpt_path", "name")


@dataclass(frozen=True)
class Items:
    """The figures of one model on every item."""

    index: Tensor
    """Ids of the items, int64 ``[N]``."""
    known: Tensor
    """By which two sources are known to speak of the same: labels, or ids of the documents wanted, ``[N]``."""
    values: dict[str, Tensor]
    """float64 ``[N]`` each."""
    data: str
    """Where the items come from, in words; empty for a file."""


def main(args: list[str]) -> int:
    """Score every item by every model, then the differences."""
    options, others = _parser().parse_known_args(args)
    options.models += [word for word in others if not word.startswith("-")]  # those that stand behind an option
    others = [word for word in others if word.startswith("-")]
    quiet_lightning()
    if len(options.models) < 2:
        raise UserError(f"{' '.join(options.models)}: give two models at least, to compare the others with the first.")
    if not 0 < options.level < 1:
        raise UserError(f"--level {options.level}: must be in (0, 1).")
    with_files = any(Path(model).suffix in FILES for model in options.models)
    groups: dict[str, list[Items]] = {}
    for model, group in zip(options.models, groups_of(options.models, options.root), strict=True):
        if Path(model).suffix in FILES:
            items = of_file(model)
        else:
            path = checkpoint_at(model, options.root)
            items = of_run(path, others, options.split, with_files)
        groups.setdefault(group, []).append(items)
        check_same(next(iter(groups.values()))[0], items, options.models[0], model)
    told = compared(groups, options.level, options.resamples, options.seed)
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        console = Console()
        if told["data"]:
            console.print(told["data"], highlight=False, soft_wrap=True, markup=False)
        console.print(table_of(told))
    return 0


def groups_of(models: Sequence[str], root: str) -> list[str]:
    """The group of each model: runs that differ in the seed only are one, named as their recipe; a file is by itself."""
    settings: list[str] = []
    names: list[str] = []
    for model in models:
        run = None if Path(model).suffix in FILES else run_of(checkpoint_at(model, root))
        settings.append(str(model) if run is None else _but_seeds(run))
        names.append(str(model) if run is None else run.parent.name)
    kinds = list(dict.fromkeys(settings))
    if len(kinds) == 1:  # the same thing twice: seed against seed
        return list(_apart([str(model) for model in models]))
    firsts = _apart([names[settings.index(kind)] for kind in kinds])
    return [firsts[kinds.index(one)] for one in settings]


def _apart(names: list[str]) -> list[str]:
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _but_seeds(run: Path) -> str:
    def kept(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: kept(value) for key, value in node.items() if key not in SEEDS}
        return [kept(one) for one in node] if isinstance(node, list) else node

    try:
        return json.dumps(kept(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))), default=str)
    except yaml.YAMLError as error:
        raise UserError(f"{run / 'config.yaml'}: not valid YAML: {error}") from error


def of_run(checkpoint: Path, others: list[str], split: str, as_file: bool) -> Items:
    """Of queries and documents every query's figures; of labels whether kNN and linear probe are right; beside files what
    a file's are."""
    cli = opened(checkpoint, in_one_process("compare", others))
    module, data = cli.model, cli.datamodule
    if hasattr(data, "corpus_dataloader"):
        if as_file:
            raise UserError(f"{checkpoint}: of queries and documents; it is compared with runs, not with files.")
        queries = data.predict_dataloader() if split == "test" else data.val_dataloader()
        with torch.inference_mode():
            (values, answered), index, wanted = of_queries(module, data, queries)
        return Items(index[answered], wanted[answered], {k: v[answered] for k, v in values.items()}, source_of(data))
    held = data.predict_dataloader() if split == "test" else validation_batches(data)
    z, label, index = _read(module, held)
    if as_file:
        return Items(index, label, among_themselves(z, label), source_of(data))
    bank, known, _ = _read(module, bank_loader(data))
    classes = int(torch.cat([label, known]).max()) + 1
    right = {
        "knn": knn_predict(z, bank, known, classes=classes) == label,
        "linear": ridge_probe(bank, known, z, classes) == label,
    }
    return Items(index, label, {name: value.double() for name, value in right.items()}, source_of(data))


def _read(module: Any, loader: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and ids."""
    embed = embedder(module)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.inference_mode():
        for batch in loader:
            if "label" not in batch:
                raise UserError("compare needs labels, or data with a corpus_dataloader(); these have neither.")
            parts.append(
                (embed(first_input(batch)).float().flatten(1).cpu(), batch["label"].cpu(), batch["index"].cpu())
            )
    z, label, index = (torch.cat(column) for column in zip(*parts, strict=True))
    return z, label, index


def of_file(path: str) -> Items:
    """Every row searches the others for its label."""
    table = read_embeddings(path)
    label = labels_of(table, path)
    order = torch.from_numpy(table.index).argsort()  # two files may have their rows in any order
    values = among_themselves(torch.from_numpy(table.embedding), label)
    return Items(torch.from_numpy(table.index)[order], label[order], {k: v[order] for k, v in values.items()}, "")


def check_same(first: Items, other: Items, one: str, two: str) -> None:
    """Whether both speak of the same items.

    Raises:
        UserError: saying how they differ.
    """
    if first.data and other.data and first.data != other.data:
        raise UserError(
            f"{one} and {two} have different data ({first.data}; {other.data}): give --config or --data for all."
        )
    if first.index.shape != other.index.shape or not torch.equal(first.index, other.index):
        a, b = set(first.index.tolist()), set(other.index.tolist())
        raise UserError(
            f"{one} and {two} have different items: {len(a)} and {len(b)}, of which {len(a & b)} in common; a paired "
            "comparison needs the same."
        )
    wrong = first.index[first.known != other.known]
    if len(wrong):
        raise UserError(
            f"{one} and {two} disagree on the labels of {len(wrong)} items (index "
            f"{', '.join(map(str, wrong[:5].tolist()))}): their rows do not belong to the same data."
        )


def compared(groups: dict[str, list[Items]], level: float, resamples: int, seed: int) -> dict[str, Any]:
    """Means of every group, and the differences of the others to the first.

    Args:
        groups: by name, the seeds of each.
        level: of the intervals.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    names = list(groups)
    first = groups[names[0]][0]
    values = {
        name: {f: torch.stack([s.values[f] for s in seeds]) for f in first.values} for name, seeds in groups.items()
    }
    means = [
        {"model": name, "seeds": len(groups[name]), **{f: float(v.mean()) for f, v in values[name].items()}}
        for name in names
    ]
    differences = []
    for name in names[1:]:
        for figure in first.values:
            a, b = values[names[0]][figure], values[name][figure]
            found: PairedDifference = paired_difference(a, b, resamples=resamples, level=level, seed=seed)
            differences.append({"model": name, "to": names[0], "figure": figure, **found._asdict()})
    return {"data": first.data, "items": len(first.index), "level": level, "means": means, "differences": differences}


def table_of(told: dict[str, Any]) -> Table:
    """A row a model; below each mean the difference to the first, green or red where the interval leaves no doubt."""
    figures = [key for key in told["means"][0] if key not in ("model", "seeds")]
    title = f"{told['items']} items; differences to the first, {told['level']:.0%} intervals (paired bootstrap)"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("model")
    table.add_column("seeds", justify="right")
    for figure in figures:
        table.add_column(figure, justify="right")
    for row in told["means"]:
        by = {d["figure"]: d for d in told["differences"] if d["model"] == row["model"]}
        cells = [Text(f"{row[figure]:.3f}") + _difference(by.get(figure)) for figure in figures]
        table.add_row(Text(row["model"]), str(row["seeds"]), *cells)
    return table


def _difference(found: dict[str, Any] | None) -> Text:
    if found is None:
        return Text("")
    style = "green" if found["low"] > 0 else "red" if found["high"] < 0 else ""
    over = " *" if found["over"] == "items and seeds" else ""
    return Text(f"\n{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]{over}", style=style)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "compare",
        examples=(
            "compare runs/simclr runs/moco-v2",
            "compare runs/simclr/* runs/supcon/*            several seeds of each",
            "compare base.npz tuned.npz --json              files that `embed` wrote",
        ),
        description="Runs (folders or checkpoints) or files of embeddings with labels, on the same items: each item is scored "
        "by every model, and the differences to the first get paired bootstrap intervals, over items, and over seeds (*) "
        "where runs differ in nothing but the seed. Of labels: kNN and linear probe by the training split; of files: every "
        "row searches the others; of queries and documents: MRR, nDCG and recall.",
        epilog="Anything else is taken as by `fit`, for all runs: --data.root, ... Each run's own settings come first. Options "
        "take their value after `=`: --data.root=FOLDER.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="RUN_OR_FILE", help="a run folder, a checkpoint, `last`, or .npz, .parquet; the first "
        "is what the others are compared with")  # fmt: skip
    add("--root", default="runs", help="where `last` looks for runs (default: runs)")
    add("--split", choices=("test", "val"), default="test", help="what runs are scored on (default: test)")
    add("--level", type=float, default=0.95, help="of the intervals (default: 0.95)")
    add("--resamples", type=int, default=2000, help="of the bootstrap (default: 2000)")
    add("--seed", type=int, default=0, help="of its draws (default: 0)")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser
