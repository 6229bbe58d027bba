"""Pairs, tuples, graded lists and plain texts in one form, checked record by record.

Every process reads its sources itself, all at the same time, once a run: that is a second or so for ten thousands of pairs,
and a cache that they share would spare little of it, and could be stale.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_contrast.data.text_files import TextDataError, records

NAMES: dict[str, tuple[str, ...]] = {
    "query": ("query", "anchor"),
    "document": ("document", "positive"),
    "text": ("text", "sentence"),
}
"""Columns that are known by more than one name."""


@dataclass
class TextRows:
    """N rows. Without ``document`` they are plain texts, in ``query``."""

    query: list[str] = field(default_factory=list)
    document: list[str] = field(default_factory=list)
    negative: list[list[str]] = field(default_factory=list)
    """Hard negatives of each row, as many for all, an empty text where one is lacking; empty where there are none."""
    known: dict[str, list[Any]] = field(default_factory=dict)
    """``label`` (integers) and ``score`` (numbers), where given for all."""
    ids: dict[str, dict[Any, str]] = field(default_factory=lambda: {"query": {}, "document": {}})
    """Texts by the ids that were given."""
    places: list[str] = field(default_factory=list)
    """Where each row stood."""

    def __len__(self) -> int:
        return len(self.query)

    @property
    def plain(self) -> bool:
        """Whether there are single texts and no pairs."""
        return not self.document

    def take(self, rows: list[int]) -> "TextRows":
        """Some rows, in the order given."""
        return TextRows(
            query=[self.query[row] for row in rows],
            document=[self.document[row] for row in rows] if self.document else [],
            negative=[self.negative[row] for row in rows] if self.negative else [],
            known={name: [values[row] for row in rows] for name, values in self.known.items()},
            ids=self.ids,
            places=[self.places[row] for row in rows],
        )


def read_texts(source: Any, side: str) -> dict[Any, str]:
    """Texts by id: records with ``id`` (or ``_id``) and ``text``; what rows of ids alone refer to.

    Raises:
        TextDataError: for an id with two texts, and for whatever `read_rows` refuses.
    """
    found: dict[Any, str] = {}
    for place, record in records(source):
        name = next((name for name in ("id", "_id", f"{side}_id") if name in _mapping(record, place)), None)
        if name is None:
            raise TextDataError(f"{place}: no column 'id'; there are {sorted(record)}.")
        key = _id(record[name], place, name)
        title = f"{record['title']} " if record.get("title") else ""
        _remember(found, key, title + _text(record.get("text"), place, "text", record), place, name)
    return found


def read_rows(
    source: Any,
    columns: Mapping[str, str] | None = None,
    queries: Mapping[Any, str] | None = None,
    documents: Mapping[Any, str] | None = None,
) -> TextRows:
    """The rows of a source.

    A record is a mapping with ``text``; or with ``query`` and ``document`` (or ``anchor`` and ``positive``), perhaps
    ``negative`` (a text, or a list; ``null`` where none was found) or ``negative_1``, ``negative_2``, ...; or with ``query``, ``documents`` and ``scores``,
    a graded list, each of whose documents becomes a row. ``query_id``, ``document_id``, ``label`` and ``score`` are kept. It may also be a text, or
    a tuple ``(query, document, negative, ...)``.

    Args:
        source: see :func:`~lightning_contrast.data.text_files.records`.
        columns: our names to those of the source.
        queries: texts by id, for records that have ``query_id`` alone.
        documents: the same for ``document_id``.

    Raises:
        TextDataError: for empty texts, wrong columns, widths that differ, ids with two texts, ids that nothing is known of.
    """
    out = TextRows()
    widths: dict[Any, str] = {}
    for place, record in records(source):
        row = _renamed(_mapping(record, place), columns or {}, place)
        if "documents" in row:
            found = _graded(row, place)
        else:
            found = [row]
        for one in found:
            _add(out, one, place, queries or {}, documents or {})
        shape = (
            "text" if out.plain else "pair",
            len(out.negative[-1]) if out.negative else 0,
            *sorted(set(row) & {"label", "score"}),
        )
        if widths.setdefault(shape, place) is place and len(widths) > 1:
            (first, at), here = next(iter(widths.items())), shape
            raise TextDataError(
                f"{place}: {_tuple(here)} do not make the same tuple as those of {at}, {_tuple(first)}: all rows must have as many "
                "negatives, and label and score everywhere or nowhere."
            )
    if not len(out):
        raise TextDataError(f"no texts in {source if isinstance(source, str) else type(source).__name__}.")
    return out


def _add(
    out: TextRows, row: dict[str, Any], place: str, queries: Mapping[Any, str], documents: Mapping[Any, str]
) -> None:
    plain = "text" in row
    if len(out) and plain != out.plain:
        raise TextDataError(f"{place}: single texts and pairs are mixed; give them as two sources.")
    if plain:
        out.query.append(_text(row["text"], place, "text", row))
    else:
        out.query.append(_side(out, row, "query", queries, place))
        out.document.append(_side(out, row, "document", documents, place))
        out.negative.append(["" if text is None else _text(text, place, "negative", row) for text in _negatives(row)])
    for name, kind in (("label", int), ("score", float)):
        if name in row:
            out.known.setdefault(name, []).append(_number(row[name], kind, place, name))
    out.places.append(place)


def _tuple(shape: tuple[Any, ...]) -> str:
    kind, negatives, *known = shape
    parts = ["text"] if kind == "text" else ["query", "document"]
    return " + ".join([*parts, *([f"{negatives} negative{'s' * (negatives > 1)}"] if negatives else []), *known])


def _side(out: TextRows, row: dict[str, Any], side: str, texts: Mapping[Any, str], place: str) -> str:
    name = f"{side}_id"
    key = _id(row[name], place, name) if row.get(name) is not None else None
    if side in row:
        text = _text(row[side], place, side, row)
    elif key is None:
        names = [name for name in row if not name.endswith("_id") and name not in NAMES] or ["name"]
        likely = names[0 if side == "query" else -1]
        raise TextDataError(
            f"{place}: no column {side!r}; there are {sorted(row)}. Say which is meant, such as columns={{'{side}': '{likely}'}}."
        )
    elif key not in texts:
        raise TextDataError(
            f"{place}: {name} {key!r} is unknown: "
            + (
                f"none of the {len(texts)} {side} texts has it."
                if texts
                else f"no texts by id were given for the {side} side."
            )
        )
    else:
        text = texts[key]
    if key is not None:
        _remember(out.ids[side], key, text, place, name)
    return text


def _negatives(row: dict[str, Any]) -> list[Any]:
    value = row.get("negative", row.get("negatives", []))
    listed = list(value) if isinstance(value, (list, tuple)) else [value]
    numbered = [name for name in row if name.startswith("negative_") and name[9:].isdecimal()]
    return [*listed, *(row[name] for name in sorted(numbered, key=lambda name: int(name[9:])))]


def _graded(row: dict[str, Any], place: str) -> list[dict[str, Any]]:
    texts, scores = row["documents"], row.get("scores")
    if not isinstance(texts, (list, tuple)) or not isinstance(scores, (list, tuple)) or len(texts) != len(scores):
        raise TextDataError(f"{place}: documents and scores must be two lists of equal length.")
    if not any(_number(score, float, place, "scores") > 0 for score in scores):
        raise TextDataError(f"{place}: a query without positives: no score is above 0.")
    ids = row.get("document_ids")
    kept = {name: value for name, value in row.items() if name not in ("documents", "scores", "document_ids")}
    return [
        {**kept, "document": text, "score": score, **({} if ids is None else {"document_id": ids[number]})}
        for number, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]


def _mapping(record: Any, place: str) -> dict[str, Any]:
    if isinstance(record, str):
        return {"text": record}
    if isinstance(record, list) and record and isinstance(record[0], Mapping):
        raise TextDataError(f"{place}: is a list of {len(record)} records; a file of JSON has one record a line.")
    if isinstance(record, (tuple, list)) and len(record) > 1:
        negatives = {"negative": list(record[2:])} if len(record) > 2 else {}
        return {"query": record[0], "document": record[1], **negatives}
    if not isinstance(record, Mapping):
        raise TextDataError(f"{place}: must be a mapping, a text or a tuple of texts, got {type(record).__name__}.")
    return dict(record)


def _renamed(record: dict[str, Any], columns: Mapping[str, str], place: str) -> dict[str, Any]:
    out = dict(record)
    for ours, theirs in columns.items():
        if theirs not in record:
            raise TextDataError(
                f"{place}: no column {theirs!r} (columns says it is {ours!r}); there are {sorted(record)}."
            )
        out[ours] = out.pop(theirs)
    for ours, names in NAMES.items():
        there = next((name for name in names if name in out), None)
        if there is not None:
            out[ours] = out.pop(there)
    if "text" in out and "query" in out:
        out.pop("text")
    return out


def _text(value: Any, place: str, name: str, row: Mapping[str, Any]) -> str:
    if not isinstance(value, str):
        raise TextDataError(f"{place}: {name} must be a text, got {value!r}; the columns are {sorted(row)}.")
    if not value.strip():
        raise TextDataError(f"{place}: {name} is empty; leave the row out.")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise TextDataError(
            f"{place}: {name} holds half a letter (a lone surrogate), which no file can: {value[:60]!a}."
        )
    return value


def _number(value: Any, kind: type, place: str, name: str) -> Any:
    try:
        found = kind(value)
    except (TypeError, ValueError):
        found = math.nan
    if isinstance(value, bool) or not math.isfinite(found) or (kind is int and str(value) != str(found)):
        what = "a whole number (number the classes from 0)" if kind is int else "a finite number"
        raise TextDataError(f"{place}: {name} must be {what}, got {value!r}.")
    return found


def _id(value: Any, place: str, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise TextDataError(f"{place}: {name} must be a string or a whole number, got {value!r}.")
    return str(value)  # files of text know no other kind, and 7 in one must be 7 in the other


def _remember(found: dict[Any, str], key: Any, text: str, place: str, name: str) -> None:
    if found.setdefault(key, text) != text:
        raise TextDataError(
            f"{place}: {name} {key!r} has another text than before: {text[:60]!r} instead of {found[key][:60]!r}."
        )
