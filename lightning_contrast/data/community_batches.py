"""Batches of communities: samples that are hard negatives of each other."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.mined import MinedBatchSampler
from lightning_contrast.functional.communities import communities
from lightning_contrast.functional.nearest import nearest


class CommunityBatchSampler(MinedBatchSampler):
    """A batch is the union of random communities of mutual hard negatives (Thirukovalluru et al., 2025, B3).

    Each sample's candidates are ranked by cosine; those at ranks ``skip`` to ``skip + window`` are its edges in a graph
    (the first ones are likely to be false negatives), which is cut into balanced communities. Every sample comes once an
    epoch; the one community that may be smaller comes last, and is left out with `drop_last`.

    Args:
        samples: The training samples, or how many there are.
        batch_size: Rows per process; the global batch must be a multiple of `community`.
        community: Samples of a community (K), >= 1; 1 is random batches.
        skip: Ranks to leave out first (p), >= 0.
        window: Ranks that become edges (m), >= 1.
        drop_last: Whether to leave out a last short batch.
        seed: Seed of the order.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        samples: Any,
        batch_size: int,
        community: int = 32,
        skip: int = 30,
        window: int = 100,
        drop_last: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(samples, batch_size, drop_last, seed)
        if community < 1 or skip < 0 or window < 1:
            raise ValueError(
                f"community={community}, skip={skip}, window={window}: need community >= 1, skip >= 0, window >= 1"
            )
        if self.size <= skip + 1:
            raise ValueError(f"skip={skip} leaves nothing of {self.size} samples: lower it")
        self.community, self.skip, self.window = community, skip, window

    def graph(self, z: Tensor, key: Tensor) -> Tensor:
        """The edges of each sample: rows at its ranks ``[skip, skip + window)``, int64 ``[N, window]`` (or all)."""
        ids = torch.arange(len(z), device=z.device)
        last = min(self.skip + self.window, len(z) - 1)
        return nearest(z, key, last, query_ids=ids, bank_ids=ids)[1][:, self.skip :].cpu()

    def mine(self, z: Tensor, key: Tensor, epoch: int) -> Tensor:
        """All samples in an order of which `community` consecutive ones are a community, int64 ``[N]``."""
        return communities(self.graph(z, key), self.community, self.seed)

    def mined_order(self, table: Tensor, rows: int, seed: int) -> Tensor:
        """The communities in random order."""
        if rows % self.community:
            raise ValueError(
                f"a global batch of {rows} rows is no union of communities of {self.community}: choose batch_size x "
                "processes as a multiple of community"
            )
        whole = self.size // self.community * self.community
        shuffled = torch.randperm(whole // self.community, generator=torch.Generator().manual_seed(seed))
        return torch.cat([table[:whole].view(-1, self.community)[shuffled].flatten(), table[whole:]])
