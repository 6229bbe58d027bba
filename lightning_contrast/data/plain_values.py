"""What a checkpoint can hold of settings."""

from collections.abc import Mapping
from typing import Any


def is_plain(value: Any) -> bool:
    """Whether a value is a number or a text, or lists and mappings of them: a checkpoint with it loads with ``weights_only``.

    Example:
        >>> is_plain({"a": [1, None, "b"]}), is_plain(print)
        (True, False)
    """
    if isinstance(value, Mapping):
        return all(map(is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return isinstance(value, (str, int, float, type(None)))
