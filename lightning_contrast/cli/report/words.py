"""The texts of held-out items, for a person to read: as the data hold them, before a tokenizer made numbers of them."""

from collections.abc import Mapping, Sequence
from typing import Any

ITEM = ("text", "caption", "query", "sentence", "anchor", "title", "input", "views")
PARTNER = ("document", "positive", "key")
LETTERS = 300  # of a text that are shown


def words_of(dataset: Any, rows: Sequence[int]) -> tuple[list[str] | None, list[str] | None]:
    """Texts of these rows and of their partners; ``None`` where the data set holds no texts."""
    if not len(rows) or said(_item(dataset, rows[0]), ITEM) is None:
        return None, None
    items = [_item(dataset, row) for row in rows]
    texts, partners = ([said(item, keys) for item in items] for keys in (ITEM, PARTNER))
    return _all(texts), _all(partners)


def said(item: Any, keys: Sequence[str]) -> str | None:
    """The first of these entries that is a text, or begins with one."""
    if not isinstance(item, Mapping):
        return None
    for key in keys:
        value = item.get(key)
        value = value[0] if isinstance(value, (list, tuple)) and value else value
        if isinstance(value, str):
            return shortened(value)
    return None


def shortened(text: str) -> str:
    """At most ``LETTERS`` letters, with a sign where more would follow."""
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _item(dataset: Any, row: int) -> Any:
    try:
        return dataset[row]
    except (TypeError, KeyError, IndexError, NotImplementedError):  # read in batches alone
        return None


def _all(texts: list[str | None]) -> list[str] | None:
    found = [text for text in texts if text is not None]
    return found if found and len(found) == len(texts) else None
