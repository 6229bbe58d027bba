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
        self.entries: list[T] = []
        self.every, self.offered = 1, 0

    def add(self, entry: T) -> None:
        """Offers one more."""
        if self.entries and (self.offered - 1) % self.every:
            self.entries.pop()  # the newest until now, off the grid
        self.entries.append(entry)
        self.offered += 1
        while len(self.entries) > self.keep:
            self.every *= 2
            last = self.entries[-1]
            self.entries = self.entries[::2]
            if (self.offered - 1) % self.every:
                self.entries.append(last)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"entries": list(self.entries), "every": self.every, "offered": self.offered}

    def load(self, state: dict[str, Any]) -> None:
        """As saved."""
        self.entries = list(state["entries"])
        self.every, self.offered = int(state["every"]), int(state["offered"])
