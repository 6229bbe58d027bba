"""Batches of neighbours: hard negatives without a search in every step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lightning_contrast.data.mined import MinedBatchSampler
from lightning_contrast.functional.nearest import nearest
from lightning_contrast.functional.neighbour_order import neighbour_order
from lightning_contrast.functional.places import nearest_places


class NeighbourBatchSampler(MinedBatchSampler):
    """A batch is a random sample and its neighbours, then the next one's (Deuser et al., 2023, Sample4Geo, section 3.3).

    Of each sample that begins, the `select` / 2 nearest of its list are taken, and as many at random from the rest of
    it. Neighbours are near by `coordinates`, if there are any, until the callback `BatchMining` brings those by cosine of
    embeddings. Every sample comes once an epoch; with `drop_last`, except those of the last short batch.

    Args:
        samples: The training samples, or how many there are.
        batch_size: Rows per process.
        neighbours: Length of each sample's list (R), >= 1.
        select: How many of it to take (S), >= 1 and at most `neighbours`.
        nearest: How many of these are the very nearest; None is half.
        coordinates: Of each sample, ``[N, C]``: values, or a ``.npy`` file. None is none.
        surface: ``earth``: they are latitude and longitude in degrees. ``plane``: any others.
        drop_last: Whether to leave out a last short batch.
        seed: Seed of the draws.

    Raises:
        ValueError: If a number is out of range or the coordinates are of other samples.
    """

    def __init__(
        self,
        samples: Any,
        batch_size: int,
        neighbours: int = 128,
        select: int = 64,
        nearest: int | None = None,
        coordinates: str | Sequence[Sequence[float]] | None = None,
        surface: Literal["earth", "plane"] = "earth",
        drop_last: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(samples, batch_size, drop_last, seed)
        nearest = select // 2 if nearest is None else nearest
        if not 1 <= select <= neighbours or not 0 <= nearest <= select:
            raise ValueError(
                f"neighbours={neighbours}, select={select}, nearest={nearest}: need 1 <= select <= neighbours and "
                "0 <= nearest <= select"
            )
        self.neighbours, self.select, self.nearest = neighbours, select, nearest
        if coordinates is not None:
            where = _read(coordinates)
            if len(where) != self.size:
                raise ValueError(f"coordinates of {len(where)} samples were given, but there are {self.size}")
            self.table = nearest_places(where, self._length, surface).int()

    @property
    def _length(self) -> int:
        return min(self.neighbours, self.size - 1) or 1

    def mine(self, z: Tensor, key: Tensor, epoch: int) -> Tensor:
        """Each sample's nearest others by cosine, int32 ``[N, R]``."""
        ids = torch.arange(len(z), device=z.device)
        return nearest(z, key, self._length, query_ids=ids, bank_ids=ids)[1].int().cpu()

    def mined_order(self, table: Tensor, rows: int, seed: int) -> Tensor:
        """Neighbours together."""
        return neighbour_order(table, rows, self.nearest, self.select - self.nearest, seed)


def _read(coordinates: Any) -> Tensor:
    if isinstance(coordinates, (str, Path)):
        path = Path(coordinates)
        if not path.is_file():
            raise ValueError(f"coordinates={str(path)!r}: there is no such file; give a .npy file of numbers [N, C]")
        coordinates = np.load(path, allow_pickle=False)
    return torch.as_tensor(coordinates)
