"""A head for every place of a feature map, and the propagation between places."""

from torch import Tensor

from lightning_contrast.functional.propagation import propagate
from lightning_contrast.heads.head import Head, HeadLike, at_least_one


class PerPlace(Head):
    """The same head at each of ``P = grid^2`` places of a flattened map (a 1x1 convolution, if it is a linear one).

    Maps are laid out as ``map.flatten(1)`` of ``[N, C, grid, grid]`` does, channels first, which is what ``SmallCNN(grid=...)``
    gives; the result is laid out likewise.

    Args:
        head: from channels to channels.
        grid: cells a side, >= 1.

    Raises:
        ValueError: for a grid below 1, or features that are no such map.

    Example:
        >>> import torch
        >>> from lightning_contrast.heads import LinearHead
        >>> PerPlace(LinearHead(output_dim=5), grid=2)(torch.randn(3, 4 * 7)).shape
        torch.Size([3, 20])
    """

    def __init__(self, head: HeadLike, grid: int = 2) -> None:
        super().__init__()
        self.head, self.places = head, at_least_one(grid, "grid") ** 2

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C * P]`` to ``[N, C' * P]``."""
        return self.head(places_of(x, self.places)).mT.flatten(1)


class Propagation(PerPlace):
    """``y_i = sum_j max(cos(x_i, x_j), 0)^gamma g(x_j)`` over the places of a map, ``g`` the head at each place.

    PixPro's propagation module (Xie et al. 2021, eq. 3), as the ``predictor`` of a module on top of :class:`PerPlace`.

    Args:
        head: ``g``, a linear one in the paper.
        grid: cells a side, >= 1.
        gamma: > 0; larger propagates less.

    Raises:
        ValueError: for values out of range, or features that are no such map.

    Example:
        >>> import torch
        >>> Propagation(torch.nn.Identity(), grid=1)(torch.tensor([[3.0, 4.0]])).tolist()
        [[3.0, 4.0]]
    """

    def __init__(self, head: HeadLike, grid: int = 2, gamma: float = 2.0) -> None:
        super().__init__(head, grid)
        if not gamma > 0:
            raise ValueError(f"gamma={gamma}: must be > 0 (2 in the paper).")
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C * P]`` to ``[N, C' * P]``."""
        places = places_of(x, self.places)
        transformed = self.head(places)
        return propagate(places.to(transformed.dtype), transformed, self.gamma).mT.flatten(1)


def places_of(x: Tensor, places: int) -> Tensor:
    """A flattened map ``[N, C * P]``, channels first, as rows of places ``[N, P, C]``.

    Raises:
        ValueError: for features that are no such map.
    """
    if x.dim() != 2 or x.shape[1] % places:
        raise ValueError(
            f"Features {list(x.shape)} are no maps of {places} places: give the encoder that grid, such as SmallCNN(grid=2), "
            "and its head PerPlace."
        )
    return x.unflatten(1, (-1, places)).mT
