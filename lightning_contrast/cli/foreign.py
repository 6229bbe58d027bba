"""Encoders that this library did not train, as modules that can be evaluated."""

import argparse
import inspect
import json
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.classes import import_public_classes, known_classes
from lightning_contrast.cli.errors import UserError, nearest
from lightning_contrast.encoders import Encoder, ModuleEncoder

SOURCES = ("ckpt_path", "encoder", "timm", "transformers", "embeddings")


def add_foreign_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that name an encoder."""
    add = parser.add_argument
    add(
        "--encoder",
        help="in place of a checkpoint: package.Class or package.function of any nn.Module, or a class of ours",
    )
    add("--encoder_args", default="{}", help="its keyword arguments as JSON, such as '{\"width\": 64}'")
    add("--output", help="attribute or key of its output to take, where that is no tensor")
    add("--weights", help="its state dict: .safetensors, .pt, .ckpt")
    add("--timm", help="in place of a checkpoint: a model of timm by name, pretrained (downloaded unless it is cached)")
    add("--transformers", help="in place of a checkpoint: a model of transformers by name or folder; only local files")


def source_named(options: argparse.Namespace) -> str:
    """Which of :data:`SOURCES` was given.

    Raises:
        UserError: for none, or several.
    """
    given = [name for name in SOURCES if getattr(options, name) is not None]
    if len(given) != 1:
        what = f"--{', --'.join(given)} exclude each other" if given else "nothing says what to evaluate"
        raise UserError(f"{what}: give one of --{', --'.join(SOURCES)}.")
    return given[0]


def foreign(options: argparse.Namespace, others: list[str]) -> tuple[ContrastiveModule, Any]:
    """Module and data of an encoder from elsewhere; the data are those that the options name, set up.

    Raises:
        UserError: for what cannot be made, or weights that do not fit.
    """
    from lightning_contrast.cli.evaluate import set_up
    from lightning_contrast.cli.trainer import ContrastiveCLI

    encoder = encoder_of(options)
    if options.weights is not None:
        load_weights(encoder, Path(options.weights))
    typed = read_arguments(others)
    nobody = {"class_path": "ContrastiveModule", "init_args": {"encoder": {"class_path": "MLPEncoder", "init_args": {
        "hidden": [1], "output_dim": 1}}}}  # fmt: skip
    config = {"model": nobody, **({"data": typed.config["data"]} if "data" in typed.config else {})}
    trainer = ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    cli = ContrastiveCLI(args=[f"--config={json.dumps(config, default=str)}", *typed.rest, *trainer], run=False)
    if cli.datamodule is None:
        raise UserError(
            "no data to evaluate on: give --data, such as --data DigitsDataModule, or a --config that has them."
        )
    set_up(cli.datamodule)
    return ContrastiveModule(encoder), cli.datamodule


def encoder_of(options: argparse.Namespace) -> nn.Module:
    """The encoder that the options name."""
    if options.timm is not None:
        return timm_model(options.timm)
    if options.transformers is not None:
        return transformers_model(options.transformers)
    try:
        made = json.loads(options.encoder_args)
    except ValueError as error:
        raise UserError(f"--encoder_args {options.encoder_args}: no JSON ({error}).") from error
    if not isinstance(made, dict):
        raise UserError(f"--encoder_args {options.encoder_args}: a mapping of keyword arguments is expected.")
    try:
        if "." in options.encoder:
            return ModuleEncoder(options.encoder, made, options.output)
        import_public_classes()
        ours = {n: c for n, c in known_classes().items() if issubclass(c, Encoder) and not inspect.isabstract(c)}
        if options.encoder not in ours:
            raise UserError(
                f"--encoder {options.encoder}: no encoder of ours{nearest(options.encoder, list(ours))}; others go by their "
                "import path, package.Class."
            )
        return ours[options.encoder](**made)
    except (TypeError, ValueError) as error:
        raise UserError(f"--encoder {options.encoder}: {error}") from error


def timm_model(name: str) -> nn.Module:
    """A pretrained model without its classifier."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f"--timm {name} needs timm: pip install timm.") from error
    try:
        return timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:  # the hub's errors are of many kinds
        raise UserError(
            f"--timm {name}: {_first_line(error)}. Is it a name of timm.list_models(pretrained=True), and is the hub reachable "
            "or the model in its cache?"
        ) from error


class _Pooled(nn.Module):
    """The pooled output of a model of transformers; the mean over tokens where it has none."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Tensor:
        out = self.model(**inputs) if isinstance(inputs, dict) else self.model(inputs)
        pooled = getattr(out, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        states = out.last_hidden_state
        mask = inputs.get("attention_mask") if isinstance(inputs, dict) else None
        weight = torch.ones_like(states[..., 0]) if mask is None else mask.to(states.dtype)
        return (states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


def transformers_model(name: str) -> nn.Module:
    """A model from the cache, or a folder; nothing is downloaded."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from transformers import AutoModel
    except ImportError as error:
        raise UserError(f"--transformers {name} needs transformers: pip install transformers.") from error
    try:
        return _Pooled(AutoModel.from_pretrained(name, local_files_only=True))
    except Exception as error:  # the hub's errors are of many kinds
        raise UserError(
            f"--transformers {name}: {_first_line(error)}. Only a folder or what is in the hub's cache is read: download it "
            "once with transformers."
        ) from error


def load_weights(encoder: nn.Module, path: Path) -> None:
    """A state dict into an encoder, completely; a prefix that all names share, such as ``encoder.``, is dropped.

    Raises:
        UserError: for a file that is no state dict, or does not fit.
    """
    weights = _state_dict(path)
    target = encoder.module if isinstance(encoder, ModuleEncoder) else encoder
    wanted = target.state_dict()
    for prefix in ("", "encoder.", "module.", "model.", "encoder.module.", "backbone.", "model.encoder."):
        kept = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if set(kept) == set(wanted):
            break
    else:
        lacks, foreign_names = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
        raise UserError(
            f"--weights {path}: do not fit {type(target).__name__}: {len(lacks)} names are missing ({', '.join(lacks[:3])}), "
            f"{len(foreign_names)} are not its ({', '.join(foreign_names[:3])})."
        )
    try:
        target.load_state_dict(kept)
    except RuntimeError as error:
        raise UserError(f"--weights {path}: {' '.join(str(error).split())[:400]}") from error


def _state_dict(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"--weights {path}: there is no such file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise UserError(f'--weights {path} needs safetensors: pip install "lightning-contrast[export]".') from error
    except Exception as error:
        if not isinstance(error, (OSError, RuntimeError, ValueError, EOFError, KeyError, UnpicklingError)) and (
            type(error).__module__.partition(".")[0] not in ("safetensors", "safetensors_rust")
        ):
            raise
        raise UserError(f"--weights {path}: truncated, or no weights ({_first_line(error)}).") from error
    held = held.get("state_dict", held) if isinstance(held, dict) else held
    if not isinstance(held, dict) or not held or not all(isinstance(v, Tensor) for v in held.values()):
        raise UserError(f"--weights {path}: no state dict, a mapping from names to tensors.")
    return held


def _first_line(error: BaseException) -> str:
    return next(
        (line.strip().rstrip(".")[:300] for line in str(error).splitlines() if line.strip()), type(error).__name__
    )
