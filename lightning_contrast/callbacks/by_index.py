"""Tables that were made beforehand, one row for each sample, found by its index in the data set."""

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Pair
from lightning_contrast.functional.by_index import looked_up, rows_by_index

if TYPE_CHECKING:
    TableLike = str | Tensor
else:
    # What the command line offers; a type checker sees that a tensor may be passed from Python.
    TableLike = str


def table_by_index(source: TableLike, who: str, width: bool) -> Tensor:
    """Row ``i`` belongs to the sample of index ``i``; rows that nobody gave are NaN. ``[N, D]`` or ``[N]``, float32.

    Args:
        source: see :func:`~lightning_contrast.functional.by_index.rows_by_index`.
        who: named in errors.
        width: whether rows are vectors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another kind of file or shape.
    """
    rows, row = rows_by_index(source, who, width)
    return looked_up(rows.float(), row)


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
