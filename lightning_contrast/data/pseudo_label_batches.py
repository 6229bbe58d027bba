"""Batches with at most one sample of a cluster."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from lightning_contrast.data.distinct_batches import dealt
from lightning_contrast.data.mined import MinedBatchSampler
from lightning_contrast.functional.counter_random import hash_integers
from lightning_contrast.functional.kmeans import kmeans


class PseudoLabelBatchSampler(MinedBatchSampler):
    """No two samples of a global batch have the same pseudo-label (Chakraborty et al., 2020, G-SimCLR).

    Pseudo-labels are clusters of the embeddings, by k-means on the unit sphere; the callback `BatchMining` brings them.
    An epoch always has ``samples // rows`` batches. A cluster with more samples than that keeps a random choice of them,
    drawn anew each epoch; batches then have fewer rows than asked for, all equally many (to one).

    Args:
        samples: The training samples, or how many there are.
        batch_size: Rows per process, at most; a global batch may not have more than there are clusters.
        clusters: How many (K). Several times the rows of a batch keep batches full though clusters differ in size.
        seed: Seed of clusters and order.

    Raises:
        ValueError: If a batch asks for more rows than there are clusters.
    """

    def __init__(self, samples: Any, batch_size: int, clusters: int = 512, seed: int = 0) -> None:
        super().__init__(samples, batch_size, drop_last=True, seed=seed)
        if not 1 <= clusters <= self.size:
            raise ValueError(f"clusters={clusters}: must be at least 1 and at most the number of samples, {self.size}")
        self.clusters = clusters
        self._check_rows(batch_size)

    def _check_rows(self, rows: int) -> None:
        if rows > self.clusters:
            raise ValueError(
                f"a global batch of {rows} rows cannot have {rows} different pseudo-labels of clusters={self.clusters}: "
                "raise clusters or lower batch_size"
            )

    def mine(self, z: Tensor, key: Tensor, epoch: int) -> Tensor:
        """The cluster of each sample, int64 ``[N]``."""
        return kmeans(z.cpu(), self.clusters, seed=hash_integers(self.seed, epoch))[1]

    def plan(self, epoch: int, world: int) -> Iterator[Sequence[int]]:
        """Global batches without a repeated pseudo-label."""
        self._check_rows(self.batch_size * world)
        table = self.known_table()
        if table is None:
            yield from super().plan(epoch, world)
            return
        yield from dealt(table, self.global_length(world), self.batch_size, world, hash_integers(self.seed, epoch))
