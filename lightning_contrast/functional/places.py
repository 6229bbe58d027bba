"""Nearest places: on the earth, or on a plane."""

from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.functional.nearest import nearest


def nearest_places(coordinates: Tensor, k: int, surface: Literal["earth", "plane"] = "earth") -> Tensor:
    """The ``k`` nearest other places of each, the nearest first.

    Args:
        coordinates: ``earth``: latitude and longitude in degrees, ``[N, 2]``, by great-circle distance. ``plane``: any
            coordinates ``[N, C]``, by Euclidean distance.
        k: neighbours, >= 1.
        surface: which of the two.

    Returns:
        Rows int64 ``[N, k]``; -1 where there are fewer other places.

    Raises:
        ValueError: for coordinates out of range or of another shape.

    Example:
        >>> nearest_places(torch.tensor([[0.0, 179.9], [0.0, 0.0], [0.0, -179.0]]), 1)[:, 0].tolist()
        [2, 2, 0]
    """
    if coordinates.dim() != 2 or not torch.isfinite(coordinates).all():
        raise ValueError(f"coordinates must be finite [N, C], got {coordinates.dtype} {list(coordinates.shape)}.")
    where = coordinates.double()
    ids = torch.arange(len(where), device=where.device)
    if surface == "earth":
        if where.shape[1] != 2 or bool((where[:, 0].abs() > 90).any()) or bool((where[:, 1].abs() > 360).any()):
            raise ValueError(
                "coordinates on the earth are latitude in [-90, 90] and longitude in [-180, 180] (or [0, 360]), in "
                f"degrees, [N, 2]; got {list(where.shape)} between {where.amin(0).tolist()} and {where.amax(0).tolist()}. "
                "Of other coordinates: surface='plane'."
            )
        latitude, longitude = where.deg2rad().unbind(1)
        ring = latitude.cos()
        # The chord grows with the arc, so the nearest by cosine of unit vectors are the nearest on the sphere. In
        # double precision: float32 cannot tell places apart that are less than 2 km from each other.
        point = torch.stack([ring * longitude.cos(), ring * longitude.sin(), latitude.sin()], dim=1)
        return nearest(point, point, k, query_ids=ids, bank_ids=ids)[1]
    if surface != "plane":
        raise ValueError(f"surface={surface!r}: use 'earth' (latitude, longitude) or 'plane'.")
    where = where - where.mean(0)
    # -|x - y|^2 / 2 = x.y - |y|^2 / 2 - |x|^2 / 2, whose last term is the same for all y.
    query = torch.cat([where, torch.ones_like(where[:, :1])], dim=1)
    bank = torch.cat([where, -where.square().sum(1, keepdim=True) / 2], dim=1)
    return nearest(query, bank, k, query_ids=ids, bank_ids=ids, normalize=False)[1]
