"""``lightning-contrast mine``: hard negatives of every training sample, by a checkpoint."""

import argparse
import json
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lightning_contrast.callbacks.embedding import embedded
from lightning_contrast.callbacks.hard_negative_refresh import HardNegativeRefresh
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evaluate import opened, source_of
from lightning_contrast.cli.one_process import in_one_process
from lightning_contrast.cli.protocol import bank_loader
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import add_checkpoint, checkpoint_at
from lightning_contrast.functional.whole_file import table_path
from lightning_contrast.mining import as_table, mined_figures, write_mined
from lightning_contrast.mining.negatives import check_size
from lightning_contrast.mining.rules import ORDER

TOLD = {"missing": "places left empty", "empty": "queries without any", "same_label": "of the query's label (false)"}


def main(args: list[str]) -> int:
    """Embed the training split, mine, write, tell."""
    options, others = _parser().parse_known_args(args)
    quiet_lightning(scores=False)
    out = table_path(options.out, "--out")
    path = checkpoint_at(options.ckpt_path, options.root)
    refresh = refresh_of(options, args)
    cli = opened(path, in_one_process("mine", others))
    began = time.perf_counter()
    data = mined(cli, refresh)
    seconds = time.perf_counter() - began
    write_mined(out, as_table(data["index"], data["positive"], data["mined"], data["score"]))
    figures = mined_figures(data["mined"], data["removed"], refresh.rules.names, data.get("label"))
    figures.pop("churn")
    if options.json:
        told = {
            "checkpoint": str(path),
            "data": source_of(cli.datamodule),
            "out": str(out),
            "queries": len(data["index"]),
        }
        print(json.dumps({**told, "seconds": round(seconds, 2), "results": figures}, indent=2))
        return 0
    console = Console()
    console.print(f"{path}\n{source_of(cli.datamodule)}", highlight=False, soft_wrap=True, markup=False)
    console.print(removed_table(data, refresh, figures), scores_table(data))
    console.print(
        f"{out}: {len(data['index'])} queries, {seconds:.1f} s", highlight=False, soft_wrap=True, markup=False
    )
    return 0


def refresh_of(options: argparse.Namespace, args: list[str]) -> HardNegativeRefresh:
    """The callback that would mine the same in training; rules act in the order in which they were typed.

    Raises:
        UserError: for values out of range.
    """
    typed = [word[2:].partition("=")[0] for word in args if word.startswith("--")]
    order = list(dict.fromkeys(name for name in typed if name in ORDER))
    names = ("num_negatives", "range_min", "range_max", "same_label", "same_key", "absolute_margin", "relative_margin",
             "max_score", "min_score", "quantile", "sampling_strategy", "sampling_temperature", "rescore", "teacher", "weights", "search", "seed")  # fmt: skip
    try:
        return HardNegativeRefresh(order=order, **{name: getattr(options, name) for name in names})
    except (ValueError, ImportError, FileNotFoundError) as error:
        raise UserError(str(error)) from error


def mined(cli: Any, refresh: HardNegativeRefresh) -> dict[str, torch.Tensor]:
    """Embeddings and what was mined, by the names of the callback.

    Raises:
        ValueError: for a module or data that cannot be mined.
    """
    module, trainer, source = cli.model, cli.trainer, bank_loader(cli.datamodule)
    refresh.require(module)
    check_size(len(source.dataset), refresh.rules)
    trainer.precision_plugin.convert_module(module.to(trainer.strategy.root_device))
    data = embedded(trainer, module, source, lambda batch: refresh.read(module, batch), text="Embedding")
    rows = torch.arange(len(data["index"]), device=data["index"].device)
    return {**data, **refresh.prepare(data, rows, lambda: None)}


def removed_table(data: dict[str, torch.Tensor], refresh: HardNegativeRefresh, figures: dict[str, float]) -> Table:
    """What each rule removed, and what is left."""
    rules = refresh.rules
    table = Table(title="Pairs that the rules removed, in this order", title_justify="left", header_style="bold")
    for name in ("rule", "pairs", "a query"):
        table.add_column(name, justify="left" if name == "rule" else "right")
    for name, removed in zip(rules.names, data["removed"].T, strict=True):
        value = getattr(rules, name)
        table.add_row(
            name if value is True else f"{name} {value}", f"{int(removed.sum()):,}", f"{removed.double().mean():.2f}"
        )
    there = data["mined"] >= 0
    table.add_section()
    table.add_row("[bold]mined[/]", f"{int(there.sum()):,}", f"{there.sum(1).double().mean():.2f}")
    for name, text in TOLD.items():
        if name in figures:
            table.add_row(text, f"{figures[name]:.2%}", "")
    return table


def scores_table(data: dict[str, torch.Tensor]) -> Table:
    """How similar pairs and mined negatives are."""
    table = Table(title="Scores", title_justify="left", header_style="bold")
    for name in ("", "mean", "least", "quarter", "median", "three quarters", "most"):
        table.add_column(name, justify="right" if name else "left")
    kinds = {"positives": data["positive"], "negatives": data["score"][data["mined"] >= 0]}
    for name, values in kinds.items():
        if len(values):
            ordered = values.double().sort().values
            places = [int(share * (len(ordered) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
            table.add_row(name, f"{ordered.mean():.3f}", *(f"{ordered[place]:.3f}" for place in places))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "mine",
        examples=(
            "mine --ckpt_path last --out negatives.npz",
            "mine --ckpt_path last --out negatives.npz --same_label --relative_margin 0.05",
        ),
        description="Embed the training split (not augmented) with a checkpoint, search each sample's nearest others by "
        "cosine, apply the rules, write ids and scores. The rules on scores and ranks act in the order in which they are "
        "given; same_key and same_label come first.",
        epilog="Anything else is taken as by `fit`: --config, --data, --data.root, ... The run's own settings come first.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_checkpoint(parser, required=True)
    add("--out", required=True, help="the file: .npz, or .parquet (needs pyarrow)")
    add("--num_negatives", type=int, default=4, help="of each query (default: 4)")
    add("--range_min", type=int, default=0, help="leave out so many of the hardest that are left (default: 0)")
    add("--range_max", type=int, help="look at so many nearest (default: range_min + 10 num_negatives)")
    add(
        "--relative_margin",
        type=float,
        help="leave out where s > p - |p| margin; p: the query's own pair; 0.05 is usual",
    )
    add("--absolute_margin", type=float, help="leave out where s > p - margin")
    add("--max_score", type=float, help="leave out where s is larger")
    add("--min_score", type=float, help="leave out where s is smaller")
    add("--quantile", type=float, help="leave out the most similar share of what is left, in (0, 1)")
    add("--same_label", action="store_true", help="leave out samples of the query's label")
    add("--same_key", help="leave out samples of equal payload of this name, such as a document's id")
    add(
        "--sampling_strategy",
        choices=("top", "random", "softmax"),
        default="top",
        help="the hardest, or drawn, alike or by softmax(s / temperature) (default: top)",
    )
    add("--sampling_temperature", type=float, default=0.05, help="of softmax (default: 0.05)")
    add(
        "--weights",
        choices=("current", "teacher"),
        default="current",
        help="teacher: those of the key_encoder, if it is one (default: current)",
    )
    add("--rescore", action="store_true", help="rules on scores read the similarities of that teacher")
    add("--teacher", help="or those of another model: .npz with embedding and index, as `predict` writes")
    add(
        "--search",
        choices=("auto", "exact", "approximate"),
        default="auto",
        help="approximate: faiss; auto: that for many samples, where it is installed (default: auto)",
    )
    add("--seed", type=int, default=0, help="of the draws (default: 0)")
    add("--json", action="store_true", help="print JSON instead of tables")
    return parser
