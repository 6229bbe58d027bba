"""From what was typed to what jsonargparse parses: recipes by name, files merged, nothing stale left behind.

jsonargparse keeps the arguments of a class when another class is named in its place, wherever the new one accepts the
name: ``--model.optimizer SGD`` over an AdamW with weight decay 0.05 would train SGD with weight decay 0.05. Here naming
another class begins from that class's own defaults. Only ``--model`` keeps them: there one names a subclass to run the
same recipe.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader

from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.recipes import config_path

_ONLY_FIT = ("ckpt_path", "weights_only")


@dataclass
class Arguments:
    """What was typed.

    Args:
        config: all files as one, with what the options replace taken out.
        options: ``(key, value)`` of every other option, in order; value None for a flag.
        rest: arguments for jsonargparse, without the files.
        name: of the run, after the first file.
    """

    config: dict[str, Any] = field(default_factory=dict)
    options: list[tuple[str, str | None]] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    name: str | None = None

    def given(self, key: str) -> bool:
        """Whether the user set ``a.b.c``, in a file or by an option."""
        if any(_plain(option) == key for option, _ in self.options):
            return True
        node: Any = self.config
        for part in key.split("."):
            node = node.get("init_args", node) if isinstance(node, dict) and part not in node else node
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def argv(self, subcommand: str | None) -> list[str]:
        """Arguments for jsonargparse."""
        config = dict(self.config)
        if subcommand != "fit":
            for key in _ONLY_FIT:  # a run's config.yaml is good for every command
                config.pop(key, None)
        start = [] if subcommand is None else [subcommand]
        return [*start, *([f"--config={json.dumps(config, default=str)}"] if config else []), *self.rest]


def read_arguments(args: list[str]) -> Arguments:
    """Read the options after the subcommand.

    Raises:
        UserError: for a recipe or file that does not exist or is no mapping, or a class of ``pytorch_lightning``.
    """
    out = Arguments()
    queue = list(args)
    while queue:
        word = queue.pop(0)
        option, equals, value = word.partition("=")
        if option in ("-c", "--config"):
            if not equals:
                if not queue:
                    raise UserError("--config needs a value: a file, or the name of a shipped recipe.")
                value = queue.pop(0)
            out.config = _merged(out.config, _load(value, out))
            continue
        out.rest.append(word)
        if option.startswith("--"):
            takes_next = not equals and queue and not queue[0].startswith("--")
            out.options.append((option[2:], value if equals else queue[0] if takes_next else None))
    for key, named in out.options:
        if named is not None:
            _drop_stale(out.config, key, named)
    _refuse_other_package([out.config, [named for _, named in out.options]])
    return out


def _load(value: str, out: Arguments, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A file's settings, over those of the recipe or file that its ``base:`` names."""
    if value in above:
        raise UserError(f"--config {above[0]}: `base:` leads in a circle: {' -> '.join((*above, value))}.")
    if value.lstrip().startswith("{"):
        text = value
    else:
        path = Path(config_path(value))
        text = path.read_text(encoding="utf-8")
        out.name = out.name or path.stem
    try:
        loaded = get_loader("yaml")(text)
    except yaml.YAMLError as error:
        raise UserError(f"--config {value}: not valid YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"--config {value}: a mapping of settings is expected, got {type(loaded).__name__}.")
    base = loaded.pop("base", None)
    if base is None:
        return loaded
    if not isinstance(base, str):
        raise UserError(f"--config {value}: `base: {base}` must be the name of a shipped recipe, or a file.")
    return _merged(_load(base, out, (*above, value)), loaded)


def _merged(old: Any, new: Any, key: str = "") -> Any:
    """``new`` over ``old``; another class begins anew."""
    if isinstance(old, str) and isinstance(new, dict) and "class_path" not in new and _is_class_name(old):
        old = {"class_path": old}
    if not isinstance(old, dict) or not isinstance(new, dict):
        same = isinstance(old, dict) and isinstance(new, str) and _same_class(old.get("class_path"), new)
        return old if same else new
    if key == "model" and "class_path" in new and "class_path" not in old:
        old = {"init_args": old}
    if "class_path" in new and "class_path" in old and not _same_class(old["class_path"], new["class_path"]):
        if key != "model":
            return new
    elif "class_path" in old and "class_path" not in new and "init_args" not in new:
        new = {"init_args": new}
    return {**old, **{k: _merged(old[k], v, k) if k in old else v for k, v in new.items()}}


def _drop_stale(config: dict[str, Any], key: str, value: str) -> None:
    """Forget the arguments of a class that ``--key value`` replaces by another."""
    parts = _plain(key).split(".")
    if key.endswith("+") or parts == ["model"]:
        return
    node: Any = config
    for i, part in enumerate(parts):
        if not isinstance(node, dict):
            return
        if part not in node and isinstance(node.get("init_args"), dict):
            node = node["init_args"]
        if part not in node:
            return
        if i < len(parts) - 1:
            node = node[part]
            continue
        old = node[part]
        loaded = get_loader("yaml")(value) if value.lstrip().startswith("{") else value
        new = loaded.get("class_path") if isinstance(loaded, dict) else loaded
        if isinstance(old, dict) and "class_path" in old and not _same_class(old["class_path"], new):
            node[part] = {"class_path": new} if isinstance(new, str) and new != "null" else None


def _plain(key: str) -> str:
    """``model.init_args.encoder.class_path`` is ``model.encoder``."""
    parts = [part for part in key.rstrip("+").split(".") if part != "init_args"]
    return ".".join(parts[:-1] if parts[-1] == "class_path" else parts)


def _same_class(old: Any, new: Any) -> bool:
    if not isinstance(old, str) or not isinstance(new, str):
        return False
    whole = "." in old and "." in new
    # Packages re-export their classes, so two full paths are the same when top package and name are.
    return old.split(".")[-1] == new.split(".")[-1] and (not whole or old.split(".")[0] == new.split(".")[0])


def _is_class_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _refuse_other_package(node: Any) -> None:
    if isinstance(node, dict):
        for value in node.values():
            _refuse_other_package(value)
    elif isinstance(node, list):
        for value in node:
            _refuse_other_package(value)
    elif isinstance(node, str) and "pytorch_lightning." in node:
        raise UserError(
            f"{node}: classes of pytorch_lightning do not mix with lightning.pytorch's, which this library uses; "
            f"write {node.replace('pytorch_lightning.', 'lightning.pytorch.')}."
        )
