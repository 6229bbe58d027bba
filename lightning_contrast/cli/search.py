"""``lightning-contrast search``: ask embedded documents something."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.cli import embed
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evaluate import opened, set_up
from lightning_contrast.cli.one_process import in_one_process
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import add_checkpoint, checkpoint_at, run_of
from lightning_contrast.cli.shipped import Shipped, default_space
from lightning_contrast.data.embedding_table import EmbeddingTable, read_embeddings
from lightning_contrast.mining.search import Kind, check_kind, search_over

SHOWN_COLUMNS = 2


def main(args: list[str]) -> int:
    """Open or make the embedded documents, then answer."""
    options, others = _parser().parse_known_args(args)
    quiet_lightning(scores=False)
    if options.k < 1:
        raise UserError(f"--k {options.k}: must be at least 1.")
    check_kind(options.search)
    path = checkpoint_at(options.ckpt_path, options.root)
    bar = [] if sys.stderr.isatty() and not options.json else ["--trainer.enable_progress_bar=false"]
    cli = opened(path, [*in_one_process("search", others), *bar], data=False)
    file = Path(options.embeddings) if options.embeddings else made_file(cli, path)
    index = Index(cli, read_embeddings(file), file, options.search)
    asked = [*(options.query or []), *(options.item or [])]
    answers = (index.ask(text, options.k, index.by_item) for text in options.query or [])
    by_item = (index.ask(str(item), options.k, True) for item in options.item or [])
    if options.json:
        if not asked:
            raise UserError("--json answers --query or --item: give one of them.")
        told = {"checkpoint": str(path), "embeddings": str(file), "documents": len(index.table)}
        print(json.dumps({**told, "results": [*answers, *by_item]}, indent=2, ensure_ascii=False))
        return 0
    console = Console()
    for answer in [*answers, *by_item] if asked else typed(index, options.k, console):
        console.print(table_of(answer))
    return 0


def made_file(cli: Any, checkpoint: Path) -> Path:
    """The embedded documents of the run's data, in the run folder: made when they are asked for the first time, and again
    when weights or data are others."""
    data, run = cli.datamodule, run_of(checkpoint) or checkpoint.parent
    split = "corpus" if hasattr(data, "corpus_dataloader") else "test"
    side: Any = "document" if split == "corpus" else "query"
    file, space = run / f"{split}.npz", default_space(cli.model)
    wanted = embed.made_by_of(cli, split, side, space)
    try:
        held = read_embeddings(file).made_by
        if {key: held.get(key) for key in wanted} == wanted:
            return file
    except (FileNotFoundError, ValueError):
        pass
    set_up(data)
    embed.write(cli, file, checkpoint, split, side, space)
    return file


class Index:
    """Embedded documents, and the encoder of queries.

    Args:
        cli: with module and data.
        table: the documents.
        file: named in errors.
        kind: of the search.

    Raises:
        UserError: for documents of other weights; for queries of another width than theirs.
    """

    def __init__(self, cli: Any, table: EmbeddingTable, file: Path, kind: Kind = "exact") -> None:
        self.cli, self.table, self.file = cli, table, file
        made = table.made_by
        if "weights" in made and made["weights"] != embed.fingerprint(cli.model):
            raise UserError(
                f"{file}: its documents were embedded with other weights ({made.get('checkpoint')}): similarities between two "
                "models mean nothing. Embed them anew: lightning-contrast embed."
            )
        space: Any = made.get("space", default_space(cli.model))
        self.encode = Shipped(cli.model.eval(), "query", space)
        self.by_item = not hasattr(cli.datamodule, "query_inputs")
        # the table's own array, normalised in place: a million rows are not held twice
        self.rows = F.normalize(torch.from_numpy(table.embedding), dim=1, out=torch.from_numpy(table.embedding))
        self.search = search_over(self.rows, kind)

    @torch.inference_mode()
    def ask(self, query: str, k: int, item: bool = False) -> dict[str, Any]:
        """The k nearest documents of a text, or of the document with this id (without itself).

        Raises:
            UserError: for a query that says nothing to the encoder, or an id that is not there.
        """
        began = time.perf_counter()
        z, itself = self.read_item(query) if item else (self.read_text(query), -1)
        found = self.search(z, min(k + (itself >= 0), len(self.table)))
        hits = [
            {"rank": 0, "score": round(float(score), 6), **self.told(int(row))}
            for score, row in zip(found.scores[0], found.indices[0], strict=True)
            if row >= 0 and row != itself
        ][:k]
        for rank, hit in enumerate(hits, 1):
            hit["rank"] = rank
        return {"query": query, "seconds": round(time.perf_counter() - began, 4), "hits": hits}

    def read_text(self, query: str) -> Tensor:
        """``[1, D]`` of unit norm."""
        if not query.strip():
            raise UserError(f"the query {query!r} is empty: type what you look for.")
        z = self.encode(self.cli.datamodule.query_inputs([query])).float()
        if z.shape[1] != self.rows.shape[1]:
            raise UserError(
                f"{self.file}: documents have {self.rows.shape[1]} numbers, but the checkpoint's queries {z.shape[1]}: use "
                "the checkpoint (and --space) that embedded them, or embed them anew."
            )
        if not bool(torch.isfinite(z).all()):
            raise UserError(f"the embedding of {query!r} is not finite; is the checkpoint sound?")
        if not float(z.norm()) > 0:
            raise UserError(f"{query!r} says nothing to the encoder (no word that it can read).")
        return F.normalize(z, dim=1)

    def read_item(self, query: str) -> tuple[Tensor, int]:
        """``[1, D]`` of unit norm, and the row."""
        if not query.strip().lstrip("-").isdecimal():
            raise UserError(f"{query!r}: these data are searched by the id of an item, a whole number.")
        (row,) = np.flatnonzero(self.table.index == int(query))[:1].tolist() or [-1]
        if row < 0:
            low, high = int(self.table.index.min()), int(self.table.index.max())
            raise UserError(f"there is no item {query} in {self.file}; its ids lie between {low} and {high}.")
        return self.rows[row][None], row

    def told(self, row: int) -> dict[str, Any]:
        """What is known of a document."""
        known = {name: column[row].item() for name, column in self.table.columns.items()}
        text = {} if self.table.text is None else {"text": self.table.text[row]}
        return {"index": int(self.table.index[row]), **known, **text}


def typed(index: Index, k: int, console: Console) -> Iterator[dict[str, Any]]:
    """Questions from the keyboard or a pipe, a line each, until an empty line at the keyboard or the end."""
    keyboard = sys.stdin.isatty()
    if keyboard:
        what = "an item's id" if index.by_item else "what you look for"
        console.print(f"{len(index.table):,} documents. Type {what}; an empty line ends.", highlight=False)
    while True:
        try:
            line = input("> " if keyboard else "").strip()
        except EOFError:
            return
        if not line and keyboard:
            return
        if not line:
            continue
        try:
            yield index.ask(line, k, index.by_item)
        except UserError as error:  # the next question may be a better one
            if not keyboard:
                raise
            console.print(str(error), highlight=False, markup=False)


def table_of(answer: dict[str, Any]) -> Table:
    """The documents as a person reads them; texts are shown as they are, never as markup."""
    table = Table(title=Text(f"{answer['query']}  ({answer['seconds']:.3f} s)"), title_justify="left", box=None)
    hits = answer["hits"]
    names = [name for name in (hits[0] if hits else {}) if name not in ("rank", "score", "text", "index")]
    for name in ("", "score", "id"):
        table.add_column(name, justify="right")
    for name in names[:SHOWN_COLUMNS]:
        table.add_column(name, justify="right")
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for hit in hits:
        known = [str(hit[name]) for name in names[:SHOWN_COLUMNS]]
        first_line = (hit.get("text", "").splitlines() or [""])[0]
        cells = [str(hit["rank"]), f"{hit['score']:.3f}", str(hit["index"]), *known, first_line]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "search",
        examples=(
            'search --query "a viewer for pictures"',
            'search --ckpt_path runs/text-search --query "mail server" --k 5',
            "search --item 17 --json",
        ),
        description="The documents nearest to a query by cosine. Without --query and --item it asks for queries, one a line. "
        "The first call embeds the data's documents (or the test split) into the run folder; later ones read them.",
        epilog="Anything else is taken as by `fit`: --config, --data, --data.root, ... The run's own settings come first.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_checkpoint(parser, default="last")
    add("--embeddings", help="documents that `embed` wrote (.npz, .parquet), in place of the run's own")
    add(
        "--query",
        action="append",
        help="what to look for: a text; of data that are no texts an item's id; may be repeated",
    )
    add("--item", action="append", type=int, help="look for the neighbours of the item with this id; may be repeated")
    add("--k", type=int, default=10, help="documents of each query (default: 10)")
    add("--search", choices=("exact", "approximate"), default="exact", help="approximate: faiss (default: exact)")
    add("--json", action="store_true", help="print JSON instead of tables")
    return parser
