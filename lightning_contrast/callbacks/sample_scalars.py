"""The last few numbers of every sample: losses, temperatures."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.by_index import looked_up


class SampleScalars:
    """For each name a table ``[size, history]`` by index, the newest last, NaN where there is none; equal on all processes.

    Args:
        names: of the numbers.
        history: columns, >= 1.

    Raises:
        ValueError: for no history, or names that are no list.
    """

    def __init__(self, names: Sequence[str], history: int) -> None:
        if isinstance(names, str):
            raise ValueError(f"scalars={names!r}: give a list of names.")
        if history < 1:
            raise ValueError(f"history={history}: must be at least 1.")
        self.history = history
        self.table: dict[str, Tensor] = {name: torch.full((0, history), torch.nan) for name in names}

    def allocate(self, size: int) -> None:
        """A row for every sample, the first time."""
        for name, table in self.table.items():
            if not len(table):
                self.table[name] = table.new_full((size, self.history), torch.nan)

    def newest(self, name: str) -> Tensor:
        """``[size]``."""
        return self.table[name][:, -1]

    @torch.no_grad()
    def write(self, figures: Mapping[str, Tensor]) -> None:
        """One more number of each sample that has one: of several in a step their mean.

        Args:
            figures: ``index [N]``, and ``[N]`` by name; NaN is none.
        """
        for name in self.table:
            value = figures[name]
            some = ~value.isnan() & (figures["index"] >= 0)
            rows, place, count = figures["index"][some].unique(return_inverse=True, return_counts=True)
            mean = value.new_zeros(len(rows)).index_add_(0, place, value[some]) / count
            table = self.table[name] = self.table[name].to(value.device)
            table[rows] = torch.cat([table[rows, 1:], mean[:, None].to(table.dtype)], dim=1)

    def attached(self, contrast: Contrast, prefix: str) -> Contrast:
        """The contrast whose anchors and own candidates carry the newest numbers as payload ``<prefix>_<name>``."""
        return contrast.map_own(lambda block: self._of(block, prefix)) if self.table else contrast

    def _of(self, block: Candidates, prefix: str) -> Candidates:
        index, found = block.get("index"), {}
        for name, table in self.table.items():
            found[f"{prefix}_{name}"] = looked_up(table[:, -1].to(index.device), index)
        return block.attach(**found)

    def take(self, saved: Mapping[str, Tensor]) -> None:
        """As saved; of a longer history the newest, before a shorter one NaN."""
        for name in self.table:
            if name in saved:
                old = saved[name].detach()[:, -self.history :]
                table = old.new_full((len(old), self.history), torch.nan)
                table[:, self.history - old.shape[1] :] = old
                self.table[name] = table
