"""What stands beside a text is its positive."""

from torch import Tensor

from lightning_contrast.contrast import Pair
from lightning_contrast.targets.target import Target


class Neighbours(Target):
    """1 where two places are at most `width` apart and not the same: the band of Quick-Thoughts.

    Logeswaran and Lee, "An efficient framework for learning sentence representations" (ICLR 2018, section 3). Objectives
    whose target is a distribution, such as ``InfoNCE``, share it out evenly among an anchor's neighbours.

    Args:
        width: how far a neighbour may stand, >= 1.
        key: payload of places, integers ``[N]``; negative ones have no neighbours.
        within: payload of what both must be of, such as a chapter, integers ``[N]``; ``None`` is all one.

    Raises:
        ValueError: for a width below 1.
    """

    swappable = True

    def __init__(self, width: int = 1, key: str = "place", within: str | None = None) -> None:
        if width < 1:
            raise ValueError(f"width={width}: must be at least 1, a text is not its own neighbour.")
        self.width, self.key, self.within = width, key, within
        self.reads = (key,) if within is None else (key, within)

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, 0 or 1."""
        one, two = getattr(pair.anchor, self.key), getattr(pair.candidate, self.key)
        gap = (one - two).abs()
        near = (gap > 0) & (gap <= self.width) & (one >= 0) & (two >= 0)
        return (near if self.within is None else near & pair.same(self.within)).float()
