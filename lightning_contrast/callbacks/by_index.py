"""Tables that were made beforehand, one row for each sample, found by its index in the data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Pair

if TYPE_CHECKING:
    TableLike = str | Tensor
else:
    # What the command line offers; a type checker sees that a tensor may be passed from Python.
    TableLike = str


def table_by_index(source: TableLike, who: str, width: bool) -> Tensor:
    """Row ``i`` belongs to the sample of index ``i``; rows that nobody gave are NaN. ``[N, D]`` or ``[N]``, float32.

    Args:
        source: a tensor; or a file: ``.npy`` or ``.pt`` with one array, ``.npz`` with ``embedding`` (or ``value``) and
            perhaps the ``index`` of its rows, as ``lightning-contrast predict`` writes it.
        who: named in errors.
        width: whether rows are vectors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another kind of file or shape.
    """
    rows, index = (source, None) if isinstance(source, Tensor) else _read(Path(source), who)
    if rows.dim() != 1 + width or not len(rows):
        raise ValueError(f"{who}: the table must be {'[N, D]' if width else '[N]'}, got {list(rows.shape)}.")
    rows = rows.detach().float()
    if index is None:
        return rows
    if len(index) != len(rows) or int(index.min()) < 0:
        raise ValueError(f"{who}: {len(rows)} rows with {len(index)} indices, the smallest {int(index.min())}.")
    table = rows.new_full((int(index.max()) + 1, *rows.shape[1:]), torch.nan)
    table[index] = rows
    return table


def _read(path: Path, who: str) -> tuple[Tensor, Tensor | None]:
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{who}: there is no file {str(path)!r}.")
    if path.suffix == ".pt":
        held: Any = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(held, Tensor):
            return held, None
    elif path.suffix == ".npy":
        return torch.from_numpy(np.load(path)), None
    elif path.suffix == ".npz":
        with np.load(path) as file:
            held = {key: torch.from_numpy(file[key]) for key in file.files if key in ("embedding", "value", "index")}
        if "embedding" in held or "value" in held:
            return held.get("embedding", held.get("value")), held.get("index")
    raise ValueError(
        f"{who}: {str(path)!r} is no table: give a .npy or .pt file with one array, or a .npz with 'embedding' (or 'value') "
        "and 'index'."
    )


def looked_up(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``[*index.shape, ...]``; NaN for samples that the table has not, and for ids < 0."""
    known = (index >= 0) & (index < len(table))
    rows = table[index.clamp(0, len(table) - 1)]
    return rows.masked_fill(~known.reshape(*known.shape, *[1] * (rows.dim() - known.dim())), torch.nan)


class VectorsByIndex:
    """A teacher's vectors, computed once: its similarity of a tile, by the samples' indices.

    Args:
        source: see :func:`table_by_index`.
        who: named in errors.

    Raises:
        ValueError: for what is no table of vectors.
    """

    def __init__(self, source: TableLike, who: str) -> None:
        self.table = F.normalize(table_by_index(source, who, width=True), dim=-1)

    def __call__(self, pair: Pair) -> Tensor:
        """Cosine ``[n, m]``; NaN where the teacher does not know one of the two."""
        a, b = pair.anchor.index, pair.candidate.index
        if self.table.device != a.device:
            self.table = self.table.to(a.device)
        one, two = looked_up(self.table, a[:, 0]), looked_up(self.table, b)
        # [1, m, D] is shared by all anchors, [n, m, D] belongs to each.
        return one @ two[0].mT if len(two) == 1 else (two @ one[:, :, None])[..., 0]
