"""Which texts are used, and in which split: by hashes of what keeps them together, whoever else is there."""

import hashlib
from collections.abc import Mapping, Sequence

from lightning.pytorch.utilities import rank_zero_warn

from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_rows import TextRows

SPLITS = ("train", "val", "test")


def part_of(name: str) -> int:
    """0 training, 1 validation, 2 test: by a hash of the name, whoever else is there; a twentieth each for the latter."""
    place = _number(name) % 20
    return place + 1 if place < 2 else 0


def in_parts(rows: TextRows, keys: Sequence[str]) -> dict[str, TextRows]:
    """The rows by split; those of one key are in one. A split without rows is left out.

    Rows to be held out whose query is asked in training as well, under another key, are left out: they would flatter.
    """
    part = [part_of(key) for key in keys]
    asked = {plain(rows.query[row]) for row, at in enumerate(part) if at == 0}
    kept = [row for row, at in enumerate(part) if at == 0 or plain(rows.query[row]) not in asked]
    taken = {name: [row for row in kept if part[row] == number] for number, name in enumerate(SPLITS)}
    return {name: rows.take(chosen) for name, chosen in taken.items() if chosen}


def tell_of_leaks(rows: Mapping[str, TextRows]) -> None:
    """Warns, once, of queries to be held out that are trained on too."""
    seen = {plain(text) for text in rows["train"].query}
    held = {name: rows[name] for name in SPLITS[1:] if name in rows}
    common = {name: sum(plain(text) in seen for text in one.query) for name, one in held.items()}
    told = [f"{count} of {len(held[name])} queries of {name}" for name, count in common.items() if count]
    if told:
        rank_zero_warn(f"{' and '.join(told)} are in train as well: figures will flatter.")


def first_by_hash(keys: Sequence[str], count: int | None) -> list[int]:
    """The first `count` rows by a hash of their key, in their own order; those of one key are neighbours in that order.

    Example:
        >>> first_by_hash(["a", "b", "a", "c"], 2)
        [1, 3]
    """
    if count is None or count >= len(keys):
        return list(range(len(keys)))
    # of other digits than part_of: the first must be spread over all splits
    order = sorted(range(len(keys)), key=lambda row: (_number(keys[row], 8), row))
    return sorted(order[:count])


def _number(name: str, start: int = 0) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[start : start + 8], 16)
