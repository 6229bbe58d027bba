"""First-in-first-out rows that know their cluster."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.fifo import Fifo
from lightning_contrast.callbacks.prototypes import Prototypes
from lightning_contrast.functional.kmeans import kmeans


class ClusteredFifo:
    """``size`` rows, from the moment it is full in ``K`` clusters: k-means then, later rows by balanced assignment.

    Args:
        size: rows, at least the number of prototypes.
        prototypes: of the clusters.
        iterations: of k-means, at most.
        seed: of its first centroids.
    """

    def __init__(self, size: int, prototypes: Prototypes, iterations: int, seed: int) -> None:
        self.fifo, self.prototypes, self.iterations, self.seed = Fifo(size), prototypes, iterations, seed

    @property
    def ready(self) -> bool:
        """Whether it is full, and so clustered."""
        return self.fifo.fill == self.fifo.size

    @torch.no_grad()
    def write(self, z: Tensor, index: Tensor, who: str) -> None:
        """Rows ``z [n, D]`` of samples ``index [n]``, over the oldest."""
        self.prototypes.check_width(z, who)
        was_ready = self.ready
        cluster = torch.full((len(z),), -1, dtype=torch.int64, device=z.device)
        if was_ready:
            cluster = self.prototypes.balanced(z)
            self.prototypes.move(z, cluster)
        self.fifo.to(z.device)
        self.fifo.write({"z": z, "index": index, "cluster": cluster})
        if self.ready and not was_ready:
            self.cluster()

    @torch.no_grad()
    def cluster(self) -> None:
        """K-means of all rows, from the prototypes there are."""
        z = self.fifo.columns["z"]
        start = self.prototypes.z if bool(self.prototypes.known.all()) else None
        centroid, cluster = kmeans(z, self.prototypes.number, self.iterations, self.seed, start)
        self.prototypes.replace(centroid, cluster)
        self.fifo.columns["cluster"].copy_(cluster)

    @torch.no_grad()
    def neighbours(self, z: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The ``k`` most similar rows of each row's cluster and their samples; of the whole memory where it has fewer.

        Args:
            z: ``[n, D]``, unit length.
            index: ``[n]``: a sample's own entries are left out.
            k: at most the size.

        Returns:
            ``[n, k, D]`` and ``[n, k]``.
        """
        self.fifo.to(z.device)
        held = self.fifo.columns
        cosine = z.to(held["z"].dtype) @ F.normalize(held["z"], dim=1).mT
        cosine = cosine.masked_fill((index[:, None] == held["index"]) & (index[:, None] >= 0), -torch.inf)
        inside = self.prototypes.nearest(z)[:, None] == held["cluster"]
        near = cosine.masked_fill(~inside, -torch.inf)
        enough = (near > -torch.inf).sum(1, keepdim=True) >= k
        row = torch.where(enough, near, cosine).topk(k, dim=1).indices
        return held["z"][row], held["index"][row]

    def state_dict(self) -> dict[str, Any]:
        """Rows and prototypes."""
        return {"fifo": self.fifo.state_dict(), "prototypes": self.prototypes.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], who: str) -> None:
        """As saved.

        Raises:
            ValueError: for a state that is truncated, or of another size.
        """
        if {"fifo", "prototypes"} - set(state):
            raise ValueError(f"{who}: the checkpoint's state is no clustered memory's, or truncated: {sorted(state)}.")
        if state["fifo"].get("size") != self.fifo.size:
            raise ValueError(
                f"{who}: the checkpoint's memory has {state['fifo'].get('size')} rows, now {self.fifo.size}: keep prototypes "
                "and scale, or start without the checkpoint."
            )
        fifo = Fifo(self.fifo.size)
        fifo.load_state_dict(state["fifo"])
        self.prototypes.load_state_dict(state["prototypes"], who)
        self.fifo = fifo
