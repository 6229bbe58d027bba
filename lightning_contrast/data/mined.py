"""The base of batch samplers that look at embeddings."""

from typing import Any

import torch
from torch import Tensor

from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.functional.counter_random import hash_integers


class MinedBatchSampler(ShuffledBatchSampler):
    """Batches composed by what embeddings say of each sample, every sample once an epoch.

    `BatchMining` (a callback) embeds the samples every few epochs, makes the :attr:`table` of them (:meth:`mine`), keeps
    it in checkpoints, and hands it over. Until its first time batches are random. A subclass says what its table is and
    which order follows from it (:meth:`mined_order`). The table belongs to the samples, not to a process: it is the same
    on all of them.

    Args:
        samples: The training samples, or how many there are.
        batch_size: Rows per process, >= 1; what is mined is the global batch.
        drop_last: Whether to leave out a last short batch.
        seed: Seed of the order.
    """

    cut_from_one_order = False

    def __init__(self, samples: Any, batch_size: int, drop_last: bool = True, seed: int = 0) -> None:
        super().__init__(samples, batch_size, drop_last=drop_last, seed=seed)
        self.table: Tensor | None = None
        """What was mined, a row a sample ``[N, ...]``, on the CPU."""
        self.awaiting = False
        """Whether somebody will give the table later; else an epoch without it is an error."""

    def mine(self, z: Tensor, key: Tensor, epoch: int) -> Tensor:
        """The table from embeddings.

        Args:
            z: Of each sample as anchor, ``[N, D]``.
            key: Of each as candidate, ``[N, D]``; `z` itself where the two are not told apart.
            epoch: Of the draws.
        """
        raise NotImplementedError

    def mined_order(self, table: Tensor, rows: int, seed: int) -> Tensor:
        """All samples, int64 ``[N]``, of which `rows` consecutive ones are a global batch."""
        raise NotImplementedError

    def order(self, epoch: int, rows: int) -> Tensor:
        """By the table; random as long as it is awaited."""
        table = self.known_table()
        if table is None:
            return super().order(epoch, rows)
        return self.mined_order(table, rows, hash_integers(self.seed, epoch))

    def known_table(self) -> Tensor | None:
        """The table, or None while it is awaited.

        Raises:
            ValueError: If nobody will give one, or it is of other samples.
        """
        if self.table is None:
            if not self.awaiting:
                raise ValueError(
                    f"{type(self).__name__} has nothing to compose batches by: add the callback BatchMining, which embeds "
                    "the samples, or set its table (sampler.table = sampler.mine(z, z, 0))"
                )
            return None
        if len(self.table) != self.size:
            raise ValueError(
                f"the table of {type(self).__name__} has {len(self.table)} rows, but there are {self.size} samples: it was "
                "mined from other data"
            )
        return self.table


def check_finite(who: str, **embeddings: Tensor) -> None:
    """Raise where embeddings have diverged, before they decide anything.

    Raises:
        ValueError: naming the sampler and the share of rows.
    """
    for name, z in embeddings.items():
        bad = int((~torch.isfinite(z).all(1)).sum())
        if bad:
            raise ValueError(f"{who}: {bad} of {len(z)} rows of {name} are not finite: the training has diverged")
