"""The mined table as a file: ``.npz`` always, ``.parquet`` with pyarrow; whole or not there at all."""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightning_contrast.functional.whole_file import require_pyarrow, table_path, whole_file

FORMAT = "lightning_contrast.mined"
VERSION = 1


class MinedTable(NamedTuple):
    """Ids are those of the data set's ``index``."""

    query: np.ndarray
    """int64 ``[n]``, each once."""
    positive: np.ndarray
    """int64 ``[n]``: the sample of the query's own pair."""
    positive_score: np.ndarray
    """float32 ``[n]``"""
    negative: np.ndarray
    """int64 ``[n, H]``, from the hardest to the easiest; -1 where there is none."""
    negative_score: np.ndarray
    """float32 ``[n, H]``; -inf where there is none."""


KINDS = {"query": (1, "i"), "positive": (1, "i"), "positive_score": (1, "f"), "negative": (2, "i"), "negative_score": (2, "f")}  # fmt: skip


def write_mined(path: str | Path, table: MinedTable) -> None:
    """Whoever reads, and whenever the process is killed, sees the old file or the new one.

    Raises:
        ValueError: for another ending, or columns that do not fit together.
        ImportError: for ``.parquet`` without pyarrow, naming the package.
    """
    path = table_path(path)
    _check(table._asdict(), "the table")
    with whole_file(path) as file:
        if path.suffix == ".npz":
            np.savez(file, format=np.array(FORMAT), version=np.array(VERSION), **table._asdict())
        else:
            _write_parquet(file, path, table)


def read_mined(path: str | Path) -> MinedTable:
    """The table, checked.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: for a file that is truncated, foreign, or contradicts itself.
        ImportError: for ``.parquet`` without pyarrow, naming the package.
    """
    path = table_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; `lightning-contrast mine` makes one.")
    read = _read_npz if path.suffix == ".npz" else _read_parquet
    columns, version = read(path)
    if version > VERSION:
        raise ValueError(f"{path}: version {version} of the format; this library reads up to {VERSION}: update it.")
    _check(columns, str(path))
    return MinedTable(**{name: columns[name] for name in MinedTable._fields})


def _check(columns: dict[str, np.ndarray], where: str) -> None:
    absent = set(KINDS) - set(columns)
    if absent:
        raise ValueError(f"{where}: lacks {sorted(absent)}; it is no table of mined negatives.")
    n, width = len(columns["query"]), columns["negative"].shape[1:]
    for name, (dims, kind) in KINDS.items():
        a = columns[name]
        if a.ndim != dims or a.dtype.kind != kind or len(a) != n or (dims == 2 and a.shape[1:] != width):
            raise ValueError(f"{where}: {name} is {a.dtype} {list(a.shape)}, which does not fit {n} queries.")
    if len(np.unique(columns["query"])) != n or (columns["query"] < 0).any():
        raise ValueError(f"{where}: queries must be >= 0, each once.")
    if not np.array_equal(columns["negative"] >= 0, np.isfinite(columns["negative_score"])):
        raise ValueError(f"{where}: negatives and their scores contradict each other; was it changed by hand?")


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], int]:
    try:
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: truncated, or no .npz at all ({error}); mine anew.") from error
    if str(columns.get("format")) != FORMAT:
        raise ValueError(f"{path}: no table of mined negatives; it holds {sorted(columns)}.")
    return columns, int(columns["version"])


def _write_parquet(file: Any, path: Path, table: MinedTable) -> None:
    pa = require_pyarrow(path)
    columns = {}
    for name, a in table._asdict().items():
        flat = pa.array(np.ascontiguousarray(a).reshape(-1))
        columns[name] = flat if a.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, a.shape[1])
    kept = pa.table(columns).replace_schema_metadata({"format": FORMAT, "version": str(VERSION)})
    pa.parquet.write_table(kept, file)


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], int]:
    pa = require_pyarrow(path)
    try:
        table = pa.parquet.read_table(path)
        columns = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if pa.types.is_fixed_size_list(column.type):
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
            else:
                columns[name] = column.to_numpy(zero_copy_only=False)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: truncated, or no .parquet at all ({error}); mine anew.") from error
    said = table.schema.metadata or {}
    if said.get(b"format") != FORMAT.encode():
        raise ValueError(f"{path}: no table of mined negatives; it holds {sorted(columns)}.")
    return columns, int(said[b"version"])
