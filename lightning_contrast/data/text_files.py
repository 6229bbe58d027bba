"""Records of texts from files, tables and data sets, each with the place that an error names."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.gz", ".tsv.gz")


class TextDataError(ValueError):
    """Texts that cannot be used; the message names file and line, and what to do."""


def records(source: Any) -> Iterator[tuple[str, Any]]:
    """What `source` holds, one by one, with its place (``pairs.jsonl, line 3``).

    Args:
        source: a path that ends in one of `SUFFIXES`, or anything with a length and items: a list, a ``Dataset``, one of
            Hugging Face's ``datasets``.

    Raises:
        TextDataError: for a file that is not there, of another kind, empty, or broken off; with its line.
    """
    if isinstance(source, (str, Path)):
        yield from _of_file(Path(source))
        return
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__") or isinstance(source, Mapping):
        raise TextDataError(
            f"texts must be a path, or have a length and items (a list, a Dataset), got {type(source).__name__}; a DatasetDict "
            "or another mapping of splits: pass one split."
        )
    for number in range(len(source)):
        yield f"item {number}", source[number]


def _of_file(path: Path) -> Iterator[tuple[str, Any]]:
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if kind not in SUFFIXES:
        raise TextDataError(f"{path}: must end in one of {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise TextDataError(f"{path}: there is no such file.")
    if kind == ".parquet":
        yield from _of_parquet(path)
        return
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise TextDataError(f"{path}: broken off or no gzip file: {error}.") from error
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        wide = "it begins as UTF-16 does; " if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise TextDataError(
            f"{path}, line {line}: is no UTF-8 ({error.reason}); {wide}save the file as UTF-8."
        ) from error
    if not text.strip():
        raise TextDataError(f"{path}: is empty.")
    yield from _of_json(path, text) if kind.startswith(".jsonl") else _of_columns(path, text, kind)


def _of_json(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    lines = text.split("\n")  # not splitlines: texts may hold other line separators
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield f"{path.name}, line {number}", json.loads(line)
        except ValueError as error:
            last = number == len(lines)
            raise TextDataError(
                f"{path}, line {number}: is no JSON ({error})"
                + ("; the file seems to be cut in the middle of its last line." if last else ".")
            ) from error


def _of_columns(path: Path, text: str, kind: str) -> Iterator[tuple[str, Any]]:
    tabs = kind.startswith(".tsv")
    # a tab-separated file has no quotes: a text that begins with one would swallow the lines that follow
    reader = csv.reader(
        StringIO(text, newline=""), delimiter="\t" if tabs else ",", strict=not tabs,
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
    )  # fmt: skip
    begins = 1
    try:
        names = _next(reader, len(text)) or []
        _check_names(path, names)
        begins = reader.line_num + 1
        while (row := _next(reader, len(text))) is not None:
            if len(row) not in (0, len(names)):
                raise TextDataError(
                    f"{path}, line {begins}: has {len(row)} columns, the first line {len(names)} ({', '.join(names)}); "
                    "quote texts that hold the separator, and see whether the file was cut."
                )
            if row:
                yield f"{path.name}, line {begins}", dict(zip(names, row, strict=True))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise TextDataError(f"{path}, line {begins}: {error} in the row that begins there.") from error


def _next(reader: Any, longest: int) -> list[str] | None:
    """The next row; None at the end. The module `csv` refuses fields beyond 131,072 letters, unless it is told otherwise."""
    before = csv.field_size_limit(max(longest, 1))
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


def _check_names(path: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TextDataError(
            f"{path}, line 1: more than one column is called {', '.join(map(repr, twice))}; rename them."
        )
    other = next((mark for mark in ";|\t," if len(names) == 1 and mark in names[0]), None)
    if other is not None:
        raise TextDataError(
            f"{path}, line 1: one column, {names[0]!r}; the file seems to be separated by {other!r}: .csv needs commas, .tsv tabs."
        )


def _of_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(f'{path} needs pyarrow: pip install "lightning-contrast[parquet]"') from error
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise TextDataError(f"{path}: is no whole Parquet file: {str(error).rstrip('.')}.") from error
