"""``lightning-contrast embed``: the embeddings of a split, as a file."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ProgressBar

from lightning_contrast.callbacks.embedding_writer import EmbeddingWriter, Texts
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evaluate import opened, source_of
from lightning_contrast.cli.protocol import bank_loader
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import add_checkpoint, checkpoint_at
from lightning_contrast.cli.shipped import Embedder, Shipped, Side, Space, default_space, fingerprint
from lightning_contrast.functional.whole_file import table_path

SPLITS = ("train", "val", "test", "corpus")


def main(args: list[str]) -> int:
    """Embed, write, tell."""
    options, others = _parser().parse_known_args(args)
    quiet_lightning(scores=False)
    table_path(options.out, "--out")
    path = checkpoint_at(options.ckpt_path, options.root)
    cli = opened(path, others)
    split = options.split or ("corpus" if hasattr(cli.datamodule, "corpus_dataloader") else "test")
    side: Side = options.side or ("document" if split == "corpus" else "query")
    write(cli, options.out, path, split, side, options.space, options.normalize)
    if cli.trainer.is_global_zero:
        print(options.out)
    return 0


def write(
    cli: Any,
    out: str | Path,
    checkpoint: Path,
    split: str = "test",
    side: Side = "query",
    space: Space | None = None,
    normalize: bool = False,
) -> None:
    """Embed a split on the Trainer's processes and devices; the file is there whole, or not at all.

    Args:
        cli: with module, data and Trainer.
        out: ``.npz`` or ``.parquet``.
        checkpoint: told in the file.
        split: one of :data:`SPLITS`.
        side: which input of a pair is read, and which tower reads it.
        space: None is `default_space` of the module.
        normalize: whether rows get unit norm.
    """
    space = space or default_space(cli.model)
    module = Embedder(Shipped(cli.model, side, space, normalize), side)
    data, trainer = cli.datamodule, cli.trainer
    loader = loader_of(data, split)
    made_by = made_by_of(cli, split, side, space) | {"checkpoint": str(checkpoint), "data": source_of(data)}
    writer = EmbeddingWriter(str(out), texts_of(data, split), made_by)
    # what training needs, such as a queue, is not asked here; the bar is
    trainer.callbacks = [*(c for c in trainer.callbacks if isinstance(c, ProgressBar)), writer]
    data.predict_dataloader = lambda: loader
    trainer.predict(module, datamodule=data, return_predictions=False)


def made_by_of(cli: Any, split: str, side: Side, space: Space) -> dict[str, str]:
    """By which two files of embeddings are known to be the same, or comparable."""
    settings = {key: str(value) for key, value in sorted(dict(cli.datamodule.hparams).items()) if key[:1] != "_"}
    return {
        "weights": fingerprint(cli.model),
        "space": space,
        "side": side,
        "split": split,
        "settings": f"{type(cli.datamodule).__name__} {settings}",
    }


def loader_of(data: Any, split: str) -> Any:
    """The split's samples, not augmented and in order.

    Raises:
        UserError: for a split that the data do not have.
    """
    if split == "train":
        return bank_loader(data)
    name = {"val": "val_dataloader", "test": "predict_dataloader", "corpus": "corpus_dataloader"}[split]
    if not hasattr(data, name):
        raise UserError(f"--split {split}: {type(data).__name__} has no {name}(); use one of {', '.join(SPLITS)}.")
    return getattr(data, name)()


def texts_of(data: Any, split: str) -> Texts | None:
    """What a person is shown of each row, if the DataModule has ``describe(index, split)``."""
    describe: Callable[..., list[str]] | None = getattr(data, "describe", None)
    return None if describe is None else lambda index: describe(index.tolist(), split)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "embed",
        examples=(
            "embed --ckpt_path last --out test.npz",
            "embed --ckpt_path runs/text-search --split corpus --out documents.parquet",
        ),
        description="Write the embeddings of a split with ids, labels and texts, as far as they are known: .npz, or "
        ".parquet (needs pyarrow). With --trainer.devices N the samples are shared by N processes.",
        epilog="Anything else is taken as by `fit`: --config, --data, --trainer, ... The run's own settings come first.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_checkpoint(parser, required=True)
    add("--out", required=True, help="the file: .npz, or .parquet")
    add("--split", choices=SPLITS, help="what is embedded (default: the corpus if the data have one, else test)")
    add("--side", choices=("query", "document"), help="which of a pair (default: the corpus's documents, else queries)")
    add(
        "--space",
        choices=("feature", "embedding"),
        help="before the head, or after (default: before; two towers: after)",
    )
    add("--normalize", action="store_true", help="rows of unit norm")
    return parser
