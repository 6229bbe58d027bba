"""A row for each of many slots, whole on every process or shared out over them."""

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_contrast.contrast.exchange import all_sizes, all_sum, gather_rows, world_size
from lightning_contrast.functional.nearest import nearest


class Slots:
    """``size`` rows. Sharded, slot ``i`` lives on process ``i mod world``; :meth:`read`, :meth:`nearest` and :meth:`whole` are
    then called by all processes together.

    Args:
        size: number of slots.
        sharded: whether the processes share the rows out.
    """

    def __init__(self, size: int, sharded: bool) -> None:
        self.size, self.sharded = size, sharded
        self.z: Tensor | None = None
        """The rows that live here, ``[size, D]`` or this process's share; never written: zero."""
        self._world, self._rank = 1, 0

    def allocate(self, like: Tensor) -> None:
        """Empty rows, as wide as ``like [n, D]``, the first time."""
        if self.z is None:
            if self.sharded and world_size() > 1:
                self._world, self._rank = world_size(), dist.get_rank()
            self.z = like.new_zeros(len(range(self._rank, self.size, self._world)), like.shape[1])

    def to(self, device: torch.device) -> None:
        """Move, where they are elsewhere."""
        if self.z is not None and self.z.device != device:
            self.z = self.z.to(device)

    def held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the slots ``rows [n]`` live here, bool ``[n]``, and where those do."""
        here = rows % self._world == self._rank
        return here, rows[here] // self._world

    def read(self, rows: Tensor) -> Tensor:
        """Slots ``rows [n]``, the same on all processes. ``[n, D]``."""
        assert self.z is not None
        if self._world == 1:
            return self.z[rows]
        self._check_world()
        here, place = self.held(rows)
        out = self.z.new_zeros(len(rows), self.z.shape[1])
        out[here] = self.z[place]
        return all_sum(out)

    def nearest(self, z: Tensor, k: int, known: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and slots of the ``k`` nearest slots of each row of ``z [N, D]`` (its own on each process), best first.

        Args:
            z: queries, any number on each process.
            k: neighbours.
            known: slots that hold something, int64, rising, the same on all processes; at least one.
        """
        assert self.z is not None
        here, place = self.held(known)
        mine = known[here]
        if self._world == 1:
            score, row = nearest(z.to(self.z), self.z[place], k)
            return score, mine[row]
        self._check_world()
        k = min(k, len(known))
        sizes = [n for (n,) in all_sizes(len(z), device=self.z.device)]
        query = gather_rows(z.detach().to(self.z), sizes)
        score = query.new_full((len(query), k), -torch.inf)
        slot = torch.full((len(query), k), self.size, dtype=torch.int64, device=query.device)
        if len(mine) and len(query):
            found, row = nearest(query, self.z[place], k)
            score[:, : found.shape[1]], slot[:, : found.shape[1]] = found, mine[row]
        score, slot = (gather_rows(t[None]).transpose(0, 1).flatten(1) for t in (score, slot))
        order = slot.argsort(1)  # equal scores: the lower slot first, as on one process
        score, slot = score.gather(1, order), slot.gather(1, order)
        score, order = score.sort(dim=1, descending=True, stable=True)
        start = sum(sizes[: self._rank])
        return score[start : start + len(z), :k], slot.gather(1, order)[start : start + len(z), :k]

    def whole(self) -> Tensor | None:
        """All rows ``[size, D]``, on every process."""
        if self.z is None or self._world == 1:
            return self.z
        return self.read(torch.arange(self.size, device=self.z.device))

    def take(self, whole: Tensor | None) -> None:
        """From all rows ``[size, D]``, what lives here with the processes of now."""
        self.z, self._world, self._rank = None, 1, 0
        if whole is not None:
            self.allocate(whole)
            self.z = whole.detach()[self._rank :: self._world].clone()

    def _check_world(self) -> None:
        if world_size() != self._world:
            raise RuntimeError(
                f"Rows shared out over {self._world} processes are asked for on {world_size()}: all of them must take part."
            )
