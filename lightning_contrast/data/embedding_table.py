"""Embeddings as a file: ``.npz`` always, ``.parquet`` with pyarrow; whole or not there at all."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightning_contrast.functional.whole_file import require_pyarrow, table_path, whole_file

NOT_COLUMNS = ("embedding", "value", "index", "dataloader", "text", "text_end", "made_by")


@dataclass(frozen=True)
class EmbeddingTable:
    """Rows of embeddings, and what is known of each.

    Args:
        embedding: float32 ``[N, D]``, finite.
        index: ids, int64 ``[N]``, each once (with several loaders once in each).
        columns: more ids and labels, ``[N]`` each: integers or strings.
        text: what a person is shown of each row; None if nothing is known.
        made_by: whatever says where they come from, such as ``weights`` and ``space``.

    Raises:
        ValueError: for rows that do not fit together, that are not finite, or that share an id; all are counted, the first
            are named.
    """

    embedding: np.ndarray
    index: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    text: Sequence[str] | None = None
    made_by: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        z, index = self.embedding, self.index
        if z.ndim != 2 or z.dtype.kind != "f" or not z.size:
            raise ValueError(f"embedding must be floats [N, D], at least one row; got {z.dtype} {list(z.shape)}.")
        if index.shape != z.shape[:1] or index.dtype.kind not in "iu":
            raise ValueError(f"index must be integers, one a row, [{len(z)}]; got {index.dtype} {list(index.shape)}.")
        for name, column in self.columns.items():
            if column.shape != z.shape[:1]:
                raise ValueError(f"{name} must have one entry a row, [{len(z)}]; got {list(column.shape)}.")
        if self.text is not None and len(self.text) != len(z):
            raise ValueError(f"text must have one entry a row, {len(z)}; got {len(self.text)}.")
        bad = index[~_finite_rows(z)]
        if len(bad):
            raise ValueError(
                f"{len(bad)} of {len(z)} embeddings are not finite (index {_first(bad)}); is the model sound?"
            )
        loader = self.columns.get("dataloader", np.zeros(1, np.int64))
        ids = index if not loader.any() else np.stack([loader, index], 1)
        unique, count = np.unique(ids, axis=0, return_counts=True)
        if len(unique) < len(z):
            twice = unique[count > 1] if unique.ndim == 1 else unique[count > 1][:, 1]
            raise ValueError(
                f"{len(twice)} ids occur more than once in index ({_first(twice)}); each row needs its own."
            )

    def __len__(self) -> int:
        return len(self.embedding)

    def rows_of(self, ids: np.ndarray, who: str = "the embeddings") -> np.ndarray:
        """The row of each id, int64.

        Raises:
            ValueError: for ids that are not there; counted, the first are named.
        """
        order = np.argsort(self.index, kind="stable")
        place = np.searchsorted(self.index, ids, sorter=order).clip(max=len(order) - 1)
        rows = order[place]
        lost = ids[self.index[rows] != ids]
        if len(lost):
            raise ValueError(f"{who} lack {len(lost)} of {len(ids)} ids ({_first(lost)}); they have {len(self)} rows.")
        return rows


def _finite_rows(z: np.ndarray) -> np.ndarray:
    parts = [np.isfinite(z[start : start + 65536]).all(1) for start in range(0, len(z), 65536)]  # no copy of the whole
    return np.concatenate(parts)


def _first(ids: np.ndarray, most: int = 5) -> str:
    return ", ".join(str(one) for one in ids[:most].tolist()) + (", ..." if len(ids) > most else "")


def write_embeddings(path: str | Path, table: EmbeddingTable) -> None:
    """Whoever reads, and whenever the process is killed, sees the old file or the new one.

    Raises:
        ValueError: for another ending.
        ImportError: for ``.parquet`` without pyarrow, naming the extra.
    """
    path = table_path(path)
    with whole_file(path) as file:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(file, table)


def read_embeddings(path: str | Path) -> EmbeddingTable:
    """A file of ours, or anybody's with a column ``embedding``; without ``index`` rows are numbered from 0.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: for a file that is truncated, foreign, or contradicts itself.
        ImportError: for ``.parquet`` without pyarrow, naming the extra.
    """
    path = table_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; `lightning-contrast embed` makes one.")
    held, made_by = (_read_npz if path.suffix == ".npz" else _read_parquet)(path)
    z = held.get("embedding", held.get("value"))
    if z is None:
        raise ValueError(f"{path}: no column 'embedding'; it holds {sorted(held)}.")
    z = np.asarray(z, np.float32) if z.dtype.kind == "f" else z
    index = held.get("index", np.arange(len(z)))
    columns = {name: column for name, column in held.items() if name not in NOT_COLUMNS}
    if "dataloader" in held:
        columns["dataloader"] = held["dataloader"]
    try:
        return EmbeddingTable(z, index, columns, held.get("text"), made_by)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _write_npz(file: Any, table: EmbeddingTable) -> None:
    arrays: dict[str, Any] = {"embedding": table.embedding, "index": table.index, **table.columns}
    if table.text is not None:  # numpy would give every text the room of the longest
        pieces = [one.encode("utf-8", "replace") for one in table.text]
        arrays["text"] = np.frombuffer(b"".join(pieces), np.uint8)
        arrays["text_end"] = np.cumsum([len(one) for one in pieces])
    np.savez(file, made_by=np.array(json.dumps(table.made_by)), **arrays)


def _read_npz(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            held: dict[str, Any] = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: truncated, or no .npz at all ({error}); make it anew.") from error
    if "text_end" in held:
        raw, ends = held.pop("text").tobytes(), held.pop("text_end").tolist()
        starts = [0, *ends[:-1]]
        held["text"] = [raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends, strict=True)]
    return held, _told(str(held.pop("made_by", "{}")))


def _told(text: str) -> dict[str, str]:
    try:
        told = json.loads(text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _write_parquet(file: Any, table: EmbeddingTable) -> None:
    pa = require_pyarrow(Path(getattr(file, "name", "embeddings.parquet")))
    flat = pa.array(np.ascontiguousarray(table.embedding).reshape(-1))
    columns = {
        "index": pa.array(table.index),
        **{name: pa.array(column) for name, column in table.columns.items()},
        **({} if table.text is None else {"text": pa.array(list(table.text))}),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, table.embedding.shape[1]),
    }
    pa.parquet.write_table(pa.table(columns).replace_schema_metadata({"made_by": json.dumps(table.made_by)}), file)


def _read_parquet(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    pa = require_pyarrow(path)
    try:
        table = pa.parquet.read_table(path)
        held: dict[str, Any] = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
                widths = {len(row) for row in column} if pa.types.is_list(column.type) else {column.type.list_size}
                if len(widths) != 1:
                    raise ValueError(f"{path}: the lists of {name!r} have different lengths; give one width.")
                held[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            elif name == "text":
                held[name] = [one or "" for one in column.to_pylist()]
            else:
                values = column.to_numpy(zero_copy_only=False)
                held[name] = values.astype(str) if values.dtype == object else values
    except pa.ArrowException as error:
        raise ValueError(f"{path}: truncated, or no .parquet at all ({error}); make it anew.") from error
    told = (table.schema.metadata or {}).get(b"made_by", b"{}")
    return held, _told(told.decode())
