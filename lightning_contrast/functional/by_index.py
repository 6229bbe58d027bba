"""Rows that belong to samples, found by the samples' index in the data set: one way to read and to look up."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

_FORMS = (
    "give a .npz with 'embedding' (or 'value') and 'index', as `lightning-contrast predict` writes it, or a .npy or .pt "
    "with one array whose row i is of index i"
)


def rows_by_index(source: str | Path | Tensor, who: str, width: bool = True) -> tuple[Tensor, Tensor]:
    """Rows ``[M, D]`` (or ``[M]``) as they are, and the row of each index, int64 ``[size]``, -1 where there is none.

    Args:
        source: a tensor, whose row ``i`` is of index ``i``; or a file: ``.npy`` (not read into memory) or ``.pt`` with such
            an array, or with ``embedding`` (or ``value``) and the ``index`` ``[M]`` of its rows: ``.npz`` or ``.pt``.
        who: named in errors.
        width: whether rows are vectors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that is truncated, another kind's, or contradicts itself.
    """
    rows, index = (source.detach(), None) if isinstance(source, Tensor) else _read(Path(source), who)
    if rows.dim() != 1 + width or not len(rows):
        raise ValueError(f"{who}: the table must be {'[N, D]' if width else '[N]'}, got {list(rows.shape)}.")
    if index is None:
        return rows, torch.arange(len(rows), device=rows.device)
    if index.shape != rows.shape[:1] or index.is_floating_point():
        raise ValueError(
            f"{who}: {len(rows)} rows with an index {list(index.shape)} of {index.dtype}: one integer a row."
        )
    try:
        return rows, order_of(index.long())
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None


def _read(path: Path, who: str) -> tuple[Tensor, Tensor | None]:
    if not path.is_file():
        raise FileNotFoundError(f"{who}: there is no such file {str(path)!r}; `lightning-contrast predict` writes one.")
    held: Any = None
    try:
        if path.suffix == ".npy":  # copy-on-write: nobody writes, but torch warns of what cannot be written
            return torch.from_numpy(np.load(path, mmap_mode="c")), None
        if path.suffix == ".npz":
            with np.load(path) as file:
                held = {
                    key: torch.from_numpy(file[key]) for key in file.files if key in ("embedding", "value", "index")
                }
        elif path.suffix == ".pt":
            held = torch.load(path, map_location="cpu", weights_only=True)
    except (ValueError, TypeError, OSError, EOFError, BadZipFile, RuntimeError, UnpicklingError) as error:
        raise ValueError(f"{who}: {str(path)!r} is truncated, or no table ({error}); {_FORMS}.") from error
    if isinstance(held, Tensor):
        return held, None
    rows, index = (
        (held.get("embedding", held.get("value")), held.get("index")) if isinstance(held, dict) else (None, None)
    )
    if not isinstance(rows, Tensor) or not isinstance(index, Tensor):
        raise ValueError(f"{who}: {str(path)!r} is no table: {_FORMS}.")
    return rows, index


def order_of(index: Tensor) -> Tensor:
    """``row[i]`` is the row whose index is ``i``, -1 where there is none.

    Args:
        index: of each row, int64 ``[N]``.

    Raises:
        ValueError: if an index is negative or occurs twice.
    """
    if not len(index) or int(index.min()) < 0 or len(index.unique()) != len(index):
        raise ValueError("'index' must be >= 0 and differ from sample to sample.")
    row = torch.full((int(index.max()) + 1,), -1, dtype=torch.int64, device=index.device)
    row[index] = torch.arange(len(index), device=index.device)
    return row


def looked_up(table: Tensor, index: Tensor, absent: float = torch.nan) -> Tensor:
    """Rows ``[*index.shape, ...]`` of a table; ``absent`` for an index < 0 or beyond it."""
    if not len(table):
        return table.new_full((*index.shape, *table.shape[1:]), absent)
    known = (index >= 0) & (index < len(table))
    rows = table[index.clamp(0, len(table) - 1)]
    return rows.masked_fill(~known.reshape(*known.shape, *[1] * (rows.dim() - known.dim())), absent)
