"""Rows first in, first out, over several tensors at once."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Fifo:
    """``size`` slots; each holds a row of every column. Optionally ``classes`` rings of ``size // classes`` slots.

    Args:
        size: slots, > 0.
        classes: labels ``0 .. classes - 1`` have a ring each; ``None`` is one ring for all.
    """

    def __init__(self, size: int, classes: int | None = None) -> None:
        self.size, self.classes = size, classes
        self.rings = 1 if classes is None else classes
        self.slots = size // self.rings
        self.columns: dict[str, Tensor] = {}
        self.written = [0] * self.rings
        """Rows ever written to each ring."""

    @property
    def fill(self) -> int:
        """Slots in use."""
        return sum(min(n, self.slots) for n in self.written)

    def rows(self) -> dict[str, Tensor]:
        """The columns of the slots in use: views, not copies (except while a class-wise ring fills)."""
        if self.rings == 1:
            return {key: value[: self.fill] for key, value in self.columns.items()}
        if self.fill == self.slots * self.rings:
            return dict(self.columns)
        used = torch.arange(self.slots) < torch.tensor(self.written)[:, None]
        used = used.flatten().nonzero().squeeze(1)
        return {key: value[used.to(value.device)] for key, value in self.columns.items()}

    def allocate(self, columns: Mapping[str, Tensor]) -> None:
        """Empty columns, like those given."""
        self.columns = {
            key: value.new_zeros((self.slots * self.rings, *value.shape[1:])) for key, value in columns.items()
        }

    @torch.no_grad()
    def write(self, columns: Mapping[str, Tensor], ring: Tensor | None = None) -> None:
        """Append rows, over the oldest ones when full; of too many rows the last stay.

        Args:
            columns: ``[n, ...]`` each, the same keys every time.
            ring: ``[n]`` which ring each row goes to; rows outside ``[0, rings)`` are left out.
        """
        if not self.columns:
            self.allocate(columns)
        n = next(iter(columns.values())).shape[0]
        if self.rings == 1 and ring is None:
            self._write_run(columns, n)
            return
        ring = torch.zeros(n, dtype=torch.int64) if ring is None else ring.cpu()
        chosen = ((ring >= 0) & (ring < self.rings)).nonzero().squeeze(1)
        chosen = chosen[ring[chosen].argsort(stable=True)]
        ring = ring[chosen]
        count = torch.bincount(ring, minlength=self.rings)
        rank = torch.arange(len(ring)) - (count.cumsum(0) - count)[ring]
        keep = rank >= count[ring] - self.slots
        slot = (ring * self.slots + (torch.tensor(self.written)[ring] + rank) % self.slots)[keep]
        self.written = [a + b for a, b in zip(self.written, count.tolist(), strict=True)]
        for key, stored in self.columns.items():
            rows = columns[key]
            stored[slot.to(stored.device)] = rows[chosen[keep].to(rows.device)].to(stored.dtype)

    def _write_run(self, columns: Mapping[str, Tensor], n: int) -> None:
        """One ring: at most two runs of neighbouring slots, and no index for the device to wait for."""
        kept = min(n, self.slots)
        start = (self.written[0] + n - kept) % self.slots
        first = min(kept, self.slots - start)
        for key, stored in self.columns.items():
            rows = columns[key][n - kept :]
            stored[start : start + first] = rows[:first]
            stored[: kept - first] = rows[first:]
        self.written[0] += n

    def to(self, device: torch.device) -> None:
        """Move the columns, where they are elsewhere."""
        if self.columns and next(iter(self.columns.values())).device != device:
            self.columns = {key: value.to(device) for key, value in self.columns.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors; of a ring that is not full only the part in use."""
        full = self.rings > 1 or self.fill == self.size
        # torch.save writes the whole storage behind a view, so the part in use is copied.
        columns = {k: v if full else v[: self.fill].clone() for k, v in self.columns.items()}
        return {"size": self.size, "classes": self.classes, "written": list(self.written), "columns": columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Rows as they were saved; a ring of another size keeps the newest that fit.

        Raises:
            ValueError: for another number of classes, or rows that are not there; nothing is changed then.
        """
        if state["classes"] != self.classes:
            raise ValueError(f"saved with classes={state['classes']}, now classes={self.classes}: keep the number.")
        old = Fifo(state["size"], state["classes"])
        old.written = [int(n) for n in state["written"]]
        saved = {key: value.detach() for key, value in state["columns"].items()}
        expected = old.slots * old.rings if old.rings > 1 and old.fill else old.fill
        short = {key: len(value) for key, value in saved.items() if len(value) != expected}
        if short or len(old.written) != old.rings or (old.fill and not saved):
            raise ValueError(
                f"the checkpoint's state is truncated: {old.fill} rows were written, columns have {short}."
            )
        if not saved:
            return
        if state["size"] == self.size:
            self.allocate(saved)
            for key, value in saved.items():
                self.columns[key][: value.shape[0]] = value
            self.written = old.written
            return
        for number in range(self.rings):
            used = min(old.written[number], old.slots)
            oldest = old.written[number] if used == old.slots else 0
            order = number * old.slots + (oldest + torch.arange(used)) % max(old.slots, 1)
            rows = {key: value[order] for key, value in saved.items()}
            self.write(rows, None if self.classes is None else torch.full((used,), number))
