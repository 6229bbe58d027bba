"""``lightning-contrast evaluate``: how good are the features of a checkpoint, or of anybody's encoder?"""

import argparse
import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lightning_contrast.cli import by_pairs, by_retrieval
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.foreign import add_foreign_arguments, foreign, source_named
from lightning_contrast.cli.one_process import in_one_process
from lightning_contrast.cli.protocol import COLUMNS, compare
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import add_checkpoint, checkpoint_at, run_of
from lightning_contrast.data.embedding_table import read_embeddings
from lightning_contrast.data.tokenizer import TextTokenizer

LOWER = ("mrv",)
"""Columns in which the smallest number is the best."""


def main(args: list[str]) -> int:
    """Evaluate a checkpoint on its own data, or on others; an encoder from elsewhere; or a file of embeddings."""
    options, others = _parser().parse_known_args(args)
    quiet_lightning()
    named = source_named(options)
    name = str(getattr(options, named))
    if named == "embeddings":
        if others:
            raise UserError(f"{others[0]}: a file of embeddings is evaluated without data and model.")
        rows, count, source = _of_files(options)
    else:
        others = in_one_process("evaluate", others)
        if named == "ckpt_path":
            path = checkpoint_at(options.ckpt_path, options.root)
            name, (module, data) = str(path), load(path, others)
        else:
            module, data = foreign(options, others)
        rows, count = _of_module(module, data, options)
        source = source_of(data)
    told = {"checkpoint": name, "data": source, "split": options.split, "samples": count}
    if options.json:
        print(json.dumps({**told, "results": rows}, indent=2))
        return 0
    console = Console()
    console.print(f"{name}\n{source}", highlight=False, soft_wrap=True, markup=False)
    kind = "Accuracy on" if "knn" in next(iter(rows.values())) else "Search by"
    console.print(table_of(rows, f"{kind} {count} held-out samples ({options.split})"))
    return 0


def _of_module(module: Any, data: Any, options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], int]:
    if hasattr(data, "corpus_dataloader"):
        queries = data.predict_dataloader() if options.split == "test" else data.val_dataloader()
        return by_pairs.searched(module, data, queries, options.seed, options.both_ways)
    held_out = None if options.split == "test" else validation_batches(data)
    rows, _, labels = compare(module, data, options.seed, held_out)
    return rows, len(labels)


def _of_files(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], int, str]:
    table = read_embeddings(options.embeddings)
    if options.corpus is not None:
        corpus = read_embeddings(options.corpus)
        rows = by_retrieval.of_queries(table, corpus, options.by, options.qrels)
        return rows, len(table), f"{len(corpus)} documents of {options.corpus}"
    bank = None if options.bank is None else read_embeddings(options.bank)
    rows = by_retrieval.of_files(table, bank, options.seed)
    return rows, len(table), f"{len(table)} rows of {table.embedding.shape[1]} numbers"


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "evaluate",
        examples=(
            "evaluate --ckpt_path last",
            "evaluate --encoder my_package.MyNet --weights my_net.pt --data FashionMNISTDataModule",
            "evaluate --timm resnet18 --data ImageFolderDataModule --data.root pictures",
            "evaluate --transformers ./my-model --data WordNetDataModule",
            "evaluate --embeddings test.npz --bank train.npz --json",
        ),
        description="kNN (k = 20), linear probe and the mean of ten draws of ten labels a class, on features before the "
        "head; the training split is the bank. Beside them: the same encoder untrained, raw pixels, chance. Of queries and "
        "documents: every query searches the corpus (scores of pairs are graded relevance); beside them the untrained encoder "
        "and BM25; where there are scores or hard negatives also Spearman and Pearson of pairs, and each query's own candidates "
        "reranked; of translations also both ways and the mean rank variance.",
        epilog="Anything else is taken as by `fit`: --config, --data, --data.root, ... The run's own settings come first.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_checkpoint(parser)
    add_foreign_arguments(parser)
    add("--embeddings", help="in place of a checkpoint: rows with labels or ids, .npz or .parquet, as `embed` writes")
    add("--bank", help="rows of the training split, that kNN and probes learn from; else rows search each other")
    add("--corpus", help="rows of documents, that --embeddings search")
    add("--by", help="column by whose equal ids a document is relevant (default: document_id)")
    add("--qrels", help="lines `query document grade` that say what is relevant")
    add("--split", choices=("test", "val"), default="test", help="what is scored (default: test)")
    add("--both_ways", action="store_true", help="of pairs of equal meaning: also let the two sides of the split search each "
        "other (translations always do)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the draws of labels and the untrained encoder (default: 0)")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def load(checkpoint: Path, others: list[str]) -> tuple[Any, Any]:
    """Module and data of a run: what it was made with, then what is given here.

    Raises:
        UserError: if there is nothing that says how to make them.
    """
    cli = opened(checkpoint, others)
    return cli.model, cli.datamodule


def opened(checkpoint: Path, others: list[str], data: bool = True) -> Any:
    """The command line that makes a run's module, data and Trainer again; weights loaded; ``data``: set up as well.

    Raises:
        UserError: if there is nothing that says how to make them, or the checkpoint is cut short or of something else.
    """
    from lightning_contrast.cli.trainer import ContrastiveCLI

    held = read_checkpoint(checkpoint)
    made = dict(held.get("hyper_parameters", {}))
    run = run_of(checkpoint)
    if not {"-c", "--config"} & set(others) and not any(o.startswith("--config=") for o in others):
        if run is None:
            raise UserError(
                f"--ckpt_path {checkpoint}: no config.yaml in its run folder, so nothing says how to make model and data: "
                "give --config."
            )
        others = ["--config", str(run / "config.yaml"), *others]
    made.pop("_instantiator", None)
    if made:  # the checkpoint knows best how its own model was made
        known = {"class_path": made.pop("_class_path", "lightning_contrast.ContrastiveModule"), "init_args": made}
        if "encoder" in made:
            others = [*others, f"--config={json.dumps({'model': known})}"]
    cli = ContrastiveCLI(args=[*others, "--trainer.logger=false", "--trainer.enable_checkpointing=false"], run=False)
    if cli.datamodule is None:
        raise UserError("no data to evaluate on: give --data, such as --data DigitsDataModule.")
    restore_data(cli.datamodule, held, checkpoint)
    if data:
        set_up(cli.datamodule)
    module = cli.model
    if hasattr(module, "on_load_checkpoint"):
        module.on_load_checkpoint(held)
    try:
        module.load_state_dict(held["state_dict"])
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise UserError(
            f"--ckpt_path {checkpoint}: its weights do not fit the model that the configuration makes: "
            f"{' '.join(line.strip()[:200] for line in lines[1:3])}"
        ) from error
    return cli


def restore_data(data: Any, held: dict[str, Any], checkpoint: Path) -> None:
    """What the run's data had learned, before they are set up: the words of a tokenizer.

    Raises:
        UserError: where the data would learn other words than the weights know.
    """
    tokenizer = getattr(data, "tokenizer", None)
    states = [state for state in held.values() if isinstance(state, dict) and "tokenizer" in state]
    state = held.get(type(data).__qualname__) or (states[0] if tokenizer is not None and states else None)
    if state is None and isinstance(tokenizer, TextTokenizer) and tokenizer.model is None:
        raise UserError(
            f"--ckpt_path {checkpoint}: it holds no words, and those learned from these texts need not be the ones that it was "
            "trained with: give the run's own tokenizer (--data.tokenizer.model)."
        )
    if state is not None:
        try:
            data.load_state_dict(state)
        except ValueError as error:
            raise UserError(f"--ckpt_path {checkpoint}: {error}") from error


def set_up(data: Any) -> None:
    """All splits of a DataModule."""
    data.prepare_data()
    data.setup("fit")
    data.setup("test")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What Lightning saved.

    Raises:
        UserError: for a file that is cut short, or of another library.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError, ValueError, KeyError, OSError) as error:
        raise UserError(
            f"--ckpt_path {path}: truncated, or no checkpoint that loads with weights_only=True "
            f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})."
        ) from error
    if not isinstance(held, dict) or not isinstance(held.get("state_dict"), dict):
        found = f"a dict with {sorted(map(str, held))[:5]}" if isinstance(held, dict) else f"a {type(held).__name__}"
        raise UserError(
            f"--ckpt_path {path}: no checkpoint of Lightning (its 'state_dict' is missing), but {found}. Weights of another "
            "library are evaluated by `lightning-contrast evaluate --encoder package.Class --weights FILE`."
        )
    return held


def validation_batches(data: Any) -> list[dict[str, Any]]:
    """The validation split as the encoder takes it."""
    return [{**batch, "input": data.normalize(batch["input"])} for batch in data.val_dataloader()]


def source_of(data: Any) -> str:
    """Where the data came from, in words."""
    return str(getattr(data, "source", type(data).__name__))


def table_of(rows: dict[str, dict[str, float]], title: str) -> Table:
    """The best of every column stands out."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("features")
    for name in names:
        table.add_column(COLUMNS.get(name, name), justify="right")
    best = {key: (min if key in LOWER else max)(row[key] for row in rows.values() if key in row) for key in names}
    for name, row in rows.items():
        shown = {k: f"{row[k]:.3f}" if k in row else "-" for k in names}
        cells = [f"[bold green]{shown[k]}[/]" if row.get(k) == best[k] else shown[k] for k in names]
        table.add_row(name, *cells)
    return table
