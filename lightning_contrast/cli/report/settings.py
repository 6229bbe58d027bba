"""Settings as a table: dotted names, and which of them differ between runs."""

from typing import Any

Settings = dict[str, str]


def flattened(config: dict[str, Any]) -> Settings:
    """``{"model": {"encoder": {"class_path": "a.B", "init_args": {"n": 1}}}}`` is ``model.encoder: B``, ``...n: 1``.

    Example:
        >>> flattened({"trainer": {"callbacks": [{"class_path": "a.OnlineKNN", "init_args": {"k": 20}}]}})
        {'trainer.callbacks.OnlineKNN': 'on', 'trainer.callbacks.OnlineKNN.k': '20'}

    """
    out: Settings = {}
    _flatten(config, "", out)
    return out


def differing(settings: list[Settings]) -> list[str]:
    """Names whose values are not the same in all runs, in the order in which they are first met."""
    names = list(dict.fromkeys(name for one in settings for name in one))
    return [name for name in names if len({one.get(name) for one in settings}) > 1]


def _flatten(value: Any, name: str, out: Settings) -> None:
    if isinstance(value, dict) and "class_path" in value:
        out[name] = str(value["class_path"]).rpartition(".")[2]
        _flatten_all(value.get("init_args") or {}, name, out)
    elif isinstance(value, dict) and value:
        _flatten_all(value, name, out)
    elif isinstance(value, list) and value and all(isinstance(v, dict) and "class_path" in v for v in value):
        for one in value:
            below = f"{name}.{str(one['class_path']).rpartition('.')[2]}"
            out[below] = "on"
            _flatten_all(one.get("init_args") or {}, below, out)
    else:
        out[name] = "none" if value is None else str(value)


def _flatten_all(mapping: Any, name: str, out: Settings) -> None:
    for key, value in mapping.items() if isinstance(mapping, dict) else ():
        _flatten(value, f"{name}.{key}" if name else str(key), out)
