"""A record through training whose size is bounded, however long the training is."""

from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Thinned(Generic[T]):
    """Keeps at most ``keep`` of the entries offered, evenly spaced, and always the newest.

    When it is full, every second entry goes and from then on only every second of what is offered stays.

    Args:
        keep: entries at most, >= 3.

    Raises:
        ValueError: for ``keep`` out of range.

    Example:
        >>> record = Thinned(4)
        >>> for step in range(11):
        ...     record.add(step)
        >>> record.entries
        [0, 4, 8, 10]
    """

    def __init__(self, keep: int) -> None:
        if keep < 3:
            raise ValueError(f"keep={keep}: must be at least 3 entries (the first, one between, the last).")
        self.keep = keep
        self.grid: list[T] = []
        self.newest: T | None = None  # where it is not on the grid
        self.every, self.offered = 1, 0

    @property
    def entries(self) -> list[T]:
        """What is kept, the oldest first."""
        return self.grid if self.newest is None else [*self.grid, self.newest]

    def add(self, entry: T) -> None:
        """Offers one more."""
        if self.offered % self.every:
            self.newest = entry
        else:
            self.grid.append(entry)
            self.newest = None
        self.offered += 1
        while len(self.entries) > self.keep:
            newest = self.entries[-1]
            self.every *= 2
            self.grid = self.grid[::2]
            self.newest = None if (self.offered - 1) % self.every == 0 else newest

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"grid": list(self.grid), "newest": self.newest, "every": self.every, "offered": self.offered}

    def load(self, state: dict[str, Any]) -> None:
        """As saved."""
        self.grid, self.newest = list(state["grid"]), state["newest"]
        self.every, self.offered = int(state["every"]), int(state["offered"])
