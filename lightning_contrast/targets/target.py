"""The base of every target, so that YAML and the command line can name one."""

from typing import ClassVar

from torch import Tensor

from lightning_contrast.contrast import Pair


class Target:
    """Who is positive, and how much: a function of a tile. Plain functions serve as well where code gives them."""

    swappable: ClassVar[bool] = False
    """Whether the value is the same with anchor and candidate exchanged."""
    reads: tuple[str, ...] = ()
    """Payload by which rows of one view are positives of each other, which the batch must have."""

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, ``>= 0``; rows need not sum to 1."""
        raise NotImplementedError
