"""``lightning-contrast export``: the encoder as a file for elsewhere, loaded back and compared before it is put in place."""

import argparse
import copy
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from lightning_contrast.callbacks.embedding import as_mapping, first_input, key_input, two_towers
from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.embed import loader_of
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.evaluate import opened
from lightning_contrast.cli.one_process import in_one_process
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.runs import add_checkpoint, checkpoint_at
from lightning_contrast.cli.shipped import Shipped, Side, default_space, fingerprint
from lightning_contrast.cli.text_folder import differences, write_text_folder

TOLERANCE = 1e-5
ROWS = 4
EXTRA = 'needs packages that are not here ({error}): pip install "lightning-contrast[export]"'


def main(args: list[str]) -> int:
    """Write beside the target, load back, compare, move."""
    options, others = _parser().parse_known_args(args)
    quiet_lightning(scores=False)
    out = Path(options.out)
    writers: dict[str, Callable[..., float]] = {".safetensors": to_safetensors, ".onnx": to_onnx, "": to_folder}
    if out.suffix not in writers:
        raise UserError(
            f"--out {options.out}: must end in .safetensors or .onnx, or be a folder's name without an ending."
        )
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"--out {options.out}: the folder is there already and not empty; give another.")
    path = checkpoint_at(options.ckpt_path, options.root)
    cli = opened(path, in_one_process("export", others))
    side = options.side
    space = "embedding" if options.head else "feature" if options.no_head else default_space(cli.model)
    shipped = Shipped(cli.model.float().eval(), side, space, options.normalize)
    if options.head and shipped.head is None:
        raise UserError("--head: the model has no head on this side; leave it out.")
    inputs = some_rows(cli.datamodule, options.split, side)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.stem}.{os.getpid()}.part{out.suffix}")
    told = told_of(cli, path, shipped, side, space)
    try:
        if out.suffix:
            part.touch()  # where nothing can be written, in the words of the system and not of each writer
        more = () if out.suffix else (cli.datamodule, side)
        difference = writers[out.suffix](shipped, inputs, part, told, *more)
        if difference == float("inf"):
            raise UserError(
                f"--out {out}: the embeddings are not finite; is the checkpoint sound? Nothing was put in place."
            )
        if not difference <= TOLERANCE:
            raise UserError(
                f"--out {out}: loaded back, its embeddings differ by {difference:.2g} of the largest number, more than "
                f"{TOLERANCE:g}; the file was not put in place."
            )
        os.replace(part, out)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    size = sum(one.stat().st_size for one in [out, *out.rglob("*")] if one.is_file())
    rows = {"out": str(out), "bytes": size, "difference": difference, **told}
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print(
            f"{out}: {rows['bytes']:,} bytes; loaded back, embeddings differ by {difference:.1g} of the largest number"
        )
    return 0


def some_rows(data: Any, split: str, side: str) -> Any:
    """A few real samples, as the encoder takes them."""
    batch = as_mapping(next(iter(loader_of(data, split))))
    inputs = first_input(batch) if side == "query" else key_input(batch)
    return apply_to_collection(inputs, Tensor, lambda value: value[:ROWS])


def told_of(cli: Any, path: Path, shipped: Shipped, side: str, space: str) -> dict[str, Any]:
    """What the file says of itself: which class, which weights, and what is done to inputs before and to rows after."""
    made = dict(cli.model.hparams)
    name = "key_encoder" if side == "document" and two_towers(cli.model) else "encoder"
    normalize = getattr(cli.datamodule, "normalize", None)
    before = {"mean": normalize.mean.flatten().tolist(), "std": normalize.std.flatten().tolist()} if normalize else None
    return {
        "format": "lightning_contrast.encoder",
        "encoder": json.loads(json.dumps(made.get(name) or type(getattr(cli.model, name)).__name__, default=_plain)),
        "checkpoint": str(path),
        "weights": fingerprint(cli.model),
        "side": side,
        "space": space,
        "head": shipped.head is not None,
        "unit_norm": shipped.normalize,
        "inputs": before,
    }


def _plain(value: Any) -> Any:
    return value.as_dict() if hasattr(value, "as_dict") else str(value)


def largest_difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest number (of 1, where all are smaller)."""
    if found.shape != wanted.shape:
        return float("inf")
    difference = (found.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp(min=1)
    return float(difference.nan_to_num(nan=float("inf")))


# safetensors ------------------------------------------------------------------------------------------------------


def to_safetensors(shipped: Shipped, inputs: Any, part: Path, told: dict[str, Any]) -> float:
    """The weights by their names in the encoder; with a head ``encoder.`` and ``head.`` before them.

    Raises:
        UserError: without the package.
    """
    try:
        from safetensors.torch import load_file, save_file
    except ImportError as error:
        raise UserError(f"--out {part.suffix} {EXTRA.format(error=error)}") from error
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in _named(shipped).state_dict().items()}
    save_file(weights, part, metadata={key: json.dumps(value) for key, value in told.items()})
    again = copy.deepcopy(shipped)
    for value in (*again.parameters(), *again.buffers()):
        value.data.zero_()
    _named(again).load_state_dict(load_file(part))
    with torch.inference_mode():
        return largest_difference(again(inputs), shipped(inputs))


def _named(shipped: Shipped) -> nn.Module:
    return shipped.encoder if shipped.head is None else shipped


# A folder ---------------------------------------------------------------------------------------------------------


def to_folder(shipped: Shipped, inputs: Any, part: Path, told: dict[str, Any], data: Any, side: Side) -> float:
    """For sentence-transformers, with tokenizer, pooling, prompts and normalisation; checked on texts.

    Raises:
        UserError: for encoders that are no TextEncoder.
    """
    write_text_folder(part, shipped, data)
    (part / "lightning_contrast.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return max(largest_difference(found, wanted) for found, wanted in differences(part, shipped, data, side))


# ONNX -------------------------------------------------------------------------------------------------------------


class _Flat(nn.Module):
    """Tensors one by one, as ONNX wants them, to the encoder's mapping or tuple."""

    def __init__(self, shipped: Shipped, like: Any) -> None:
        super().__init__()
        self.shipped, self.like = shipped, like

    def forward(self, *tensors: Tensor) -> Tensor:
        if isinstance(self.like, dict):
            return self.shipped(dict(zip(self.like, tensors, strict=True)))
        return self.shipped(tensors[0] if isinstance(self.like, Tensor) else type(self.like)(tensors))


def flat(inputs: Any) -> dict[str, Tensor]:
    """The tensors of an input by name.

    Raises:
        UserError: for inputs that ONNX has no name for.
    """
    if isinstance(inputs, Tensor):
        return {"input": inputs}
    named = dict(inputs) if isinstance(inputs, dict) else {f"input_{i}": one for i, one in enumerate(inputs)}
    if not all(isinstance(value, Tensor) for value in named.values()):
        raise UserError("--out .onnx: inputs must be a tensor, or a mapping or tuple of tensors; use .safetensors.")
    return named


def to_onnx(shipped: Shipped, inputs: Any, part: Path, told: dict[str, Any]) -> float:
    """The graph, for any number of rows, and of tokens where inputs are whole numbers ``[N, L]``.

    Raises:
        UserError: without the packages, and for what ONNX cannot express.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx says less clearly that it is missing)
    except ImportError as error:
        raise UserError(f"--out {part.suffix} {EXTRA.format(error=error)}") from error
    named = flat(inputs)
    like = dict.fromkeys(named) if isinstance(inputs, dict) else inputs
    module = _Flat(shipped, like if not isinstance(inputs, Tensor) else torch.empty(0)).eval()
    try:
        _traced(module, named).save(part, external_data=False)
    except Exception as error:  # the exporter's own errors are of many kinds, and long
        reason = error.__cause__ or error
        first = next((line for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
        raise UserError(
            f"--out .onnx: the encoder cannot be expressed in ONNX ({first[:300]}); .safetensors can."
        ) from error
    held = onnx.load(part)
    onnx.helper.set_model_props(held, {key: json.dumps(value) for key, value in told.items()})
    onnx.save(held, part)
    return _difference_in_onnxruntime(onnxruntime, part, module, named)


def _traced(module: nn.Module, named: dict[str, Tensor]) -> Any:
    rows = torch.export.Dim("rows")
    shapes = tuple(_dynamic(value, rows) for value in named.values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells which libraries it could also export
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of axes that share a name, as they should
        return torch.onnx.export(
            module, tuple(named.values()), dynamo=True, dynamic_shapes={"tensors": shapes}, verbose=False,
            input_names=list(named), output_names=["embeddings"],
        )  # fmt: skip


def _difference_in_onnxruntime(onnxruntime: Any, part: Path, module: nn.Module, named: dict[str, Tensor]) -> float:
    session = onnxruntime.InferenceSession(part.read_bytes(), providers=["CPUExecutionProvider"])
    worst = 0.0
    for few in (len(next(iter(named.values()))), 1):  # another number of rows must do as well
        kept = {name: value[:few] for name, value in named.items()}
        with torch.inference_mode():
            wanted = module(*kept.values())
        (found,) = session.run(None, {name: value.numpy() for name, value in kept.items()})
        worst = max(worst, largest_difference(torch.from_numpy(found), wanted))
    return worst


def _dynamic(value: Tensor, rows: Any) -> dict[int, Any]:
    tokens = value.ndim == 2 and not value.is_floating_point()
    return {0: rows, **({1: torch.export.Dim.AUTO} if tokens else {})}


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        "export",
        examples=(
            "export --ckpt_path last --out encoder.safetensors",
            "export --ckpt_path last --out encoder.onnx --normalize",
            "export --ckpt_path runs/simcse --out my-model     a folder for sentence-transformers",
        ),
        description="Write the encoder to .safetensors (weights), .onnx (runs anywhere), or, of texts, a folder for sentence-transformers. It is loaded back, and put "
        f"in place only if it embeds real samples as the checkpoint does, to {TOLERANCE:g}.",
        epilog="Anything else is taken as by `fit`: --config, --data, --data.root, ... The run's own settings come first.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_checkpoint(parser, required=True)
    add(
        "--out",
        required=True,
        help="the file: .safetensors or .onnx; without an ending a folder of a text encoder (the extra `export` has what they need)",
    )
    head = parser.add_mutually_exclusive_group()
    head.add_argument("--head", action="store_true", help="with the head")
    head.add_argument("--no_head", action="store_true", help="without (the default, unless there are two towers)")
    add("--side", choices=("query", "document"), default="query", help="which of two towers (default: query)")
    add("--normalize", action="store_true", help="rows of unit norm, in the file's own graph (.onnx)")
    add(
        "--split",
        choices=("train", "test", "corpus"),
        default="test",
        help="whose samples it is compared on (default: test)",
    )
    add("--json", action="store_true", help="print JSON")
    return parser
