"""Prototypes of clusters or classes, kept up to date while the encoder changes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.keys import gathered_keys
from lightning_contrast.callbacks.prototypes import Assign, Prototypes
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.functional.by_index import looked_up, order_of
from lightning_contrast.functional.counter_random import hash_integers
from lightning_contrast.functional.kmeans import kmeans


class PrototypeMemory(Reembed):
    """``K`` prototypes follow the keys of all processes, equal on all of them; every sample gets a ``cluster``.

    Before a step is scored, anchors and their candidates carry the number of their prototype as payload ``cluster``: that
    of the last re-clustering, by index, else the nearest. With ``append`` the prototypes are a block of candidates too,
    with ``cluster`` (and ``label``, where they are classes). After the step its keys are assigned and move their
    prototypes. Until there are ``K``, new keys become prototypes.

    With ``every_n_epochs`` or ``every_n_steps`` the whole data set is embedded (:class:`Reembed`) and clustered by k-means,
    from the prototypes of then, so that numbers of clusters keep their meaning.

    Logs ``<name>/used`` (share of prototypes that got a key in the step), ``<name>/fit`` (mean cosine of keys to theirs), and
    ``<name>/churn`` (share of samples whose cluster the last re-clustering changed). State: prototypes, counts, the
    cluster of each sample.

    Args:
        prototypes: ``K``, >= 1; of labels, one more than the largest.
        assign: ``nearest``: by cosine. ``sinkhorn``: balanced over the step's keys (Caron et al. 2020). ``label``: the
            batch's ``label``, so that prototypes are classes; negative labels belong to none.
        momentum: ``p <- m p + (1 - m) mean``, in [0, 1); ``None``: online k-means, the mean of all keys ever assigned.
        epsilon: of Sinkhorn, > 0.
        iterations: of Sinkhorn, >= 1.
        append: whether the prototypes are candidates.
        every_n_epochs: epochs between re-clusterings; ``None`` and no steps: none.
        every_n_steps: optimizer steps between them, instead.
        start: epoch or step of the first.
        kmeans_iterations: of a re-clustering, at most.
        seed: of the first centroids.
        name: of the block and in logs.

    Raises:
        ValueError: for values out of range; at set-up for names that clash, or re-clustering of labels.
    """

    def __init__(
        self,
        prototypes: int = 100,
        assign: Assign = "nearest",
        momentum: float | None = 0.99,
        epsilon: float = 0.05,
        iterations: int = 3,
        append: bool = False,
        every_n_epochs: int | None = None,
        every_n_steps: int | None = None,
        start: int = 0,
        kmeans_iterations: int = 20,
        seed: int = 0,
        name: str = "prototype",
    ) -> None:
        every = 1 if every_n_epochs is None else every_n_epochs
        super().__init__(None, every_n_steps, every, start, space="embedding")
        self.reclusters = every_n_epochs is not None or every_n_steps is not None
        if assign not in ("nearest", "sinkhorn", "label"):
            raise ValueError(f"assign={assign!r}: use 'nearest', 'sinkhorn' or 'label'.")
        if assign == "label" and self.reclusters:
            raise ValueError("assign='label' has its classes: leave every_n_epochs and every_n_steps out.")
        if kmeans_iterations < 1:
            raise ValueError(f"kmeans_iterations={kmeans_iterations}: must be at least 1.")
        self.memory = Prototypes(prototypes, momentum, epsilon, iterations)
        self.prototypes, self.assign, self.append = prototypes, assign, append
        self.kmeans_iterations, self.seed, self.name = kmeans_iterations, seed, name
        self.cluster: Tensor | None = None
        """``[size]``: the cluster of the sample of each index, as of the last re-clustering; -1 where there is none."""
        self._churn: float | None = None
        self._waiting: list[Candidates] = []

    @property
    def state_key(self) -> str:
        """One entry in the checkpoint for each name."""
        return self._generate_state_key(name=self.name)

    @property
    def z(self) -> Tensor | None:
        """``[K, D]``, those not known zero; ``None`` before the first keys."""
        self._settle()
        return self.memory.z

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuses a second memory of this name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Finds the samples, if they are to be clustered."""
        if self.reclusters:
            super().on_train_start(trainer, pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Clusters anew, when it is time."""
        self._settle()
        if self.reclusters:
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """K-means of the embedded data set."""
        z, index = data["key"], data["index"]
        self.memory.check_width(z, self._who)
        if len(z) < self.prototypes:
            raise ValueError(f"{self._who}: {len(z)} training samples cannot make {self.prototypes} clusters.")
        start = self.memory.z if bool(self.memory.known.all()) else None
        centroid, cluster = kmeans(
            z, self.prototypes, self.kmeans_iterations, hash_integers(self.seed, trainer.global_step), start
        )
        table = looked_up(cluster, order_of(index), -1)
        old, self.cluster = self.cluster, table
        self.memory.replace(centroid, cluster)
        if old is not None and len(old) == len(table):
            self._churn = float((old.to(table.device) != table)[table >= 0].float().mean())

    # Score --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Attaches clusters; appends the prototypes there are."""
        contrast = contrast.map_own(lambda block: self._clustered(contrast, block))
        block = self.block()
        return contrast if not self.append or block is None else contrast.append(block)

    def block(self) -> Candidates | None:
        """The prototypes as candidates; ``None`` while there are none."""
        known = self.memory.known.nonzero().squeeze(1)
        if self.memory.z is None or not len(known):
            return None
        ids = {"cluster": known, "label": known} if self.assign == "label" else {"cluster": known}
        return Candidates(self.memory.z[known], ids, name=self.name, where="replicated")

    def cluster_of(self, index: Tensor, z: Tensor) -> Tensor:
        """By index where the last re-clustering knew it, else the nearest of ``z [N, D]``; -1 before any. ``[N]``."""
        near = self.memory.nearest(z)
        if self.cluster is None:
            return near
        self.cluster = self.cluster.to(index.device)
        held = looked_up(self.cluster, index, -1)
        return torch.where(held >= 0, held, near)

    def _clustered(self, contrast: Contrast, block: Candidates) -> Candidates:
        if isinstance(block.z, tuple):
            raise ValueError(f"{self._who} holds single embeddings, but these are tuples (tokens and mask).")
        z = block.z.detach().flatten(0, -2)
        self.memory.check_width(z, self._who)
        if not block.prepared:
            z = (contrast.similarity or Cosine()).prepare(z)  # type: ignore[assignment]
        if self.memory.z is not None:
            self.memory.to(z.device)
        return block.attach(cluster=self.cluster_of(block.get("index").flatten(), z).view(block.z.shape[:-1]))

    @property
    def _who(self) -> str:
        return f"PrototypeMemory(name={self.name!r})"

    # Then move ----------------------------------------------------------------------------------------------------

    def on_contrast_end(self, trainer: Any, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Keeps the keys of all processes until everybody has seen the step."""
        self._waiting.append(gathered_keys(contrast, pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the prototypes, and logs."""
        figures = self._settle()
        if figures and logs_now(trainer):
            pl_module.log_dict({f"{self.name}/{key}": value for key, value in figures.items()})

    @torch.no_grad()
    def _settle(self) -> dict[str, Any]:
        """All keys of a step at once, so that two directions are not two steps."""
        if not self._waiting:
            return {}
        waiting, self._waiting = self._waiting, []
        z = torch.cat([block.first for block in waiting])
        self.memory.check_width(z, self._who)
        label = self._labels(waiting) if self.assign == "label" else None
        place = self.memory.assign(z, self.assign, label)
        self.memory.move(z, place)
        assert self.memory.z is not None
        here = place[place >= 0]
        fit = torch.cosine_similarity(z[place >= 0].to(self.memory.z.dtype), self.memory.z[here], dim=1)
        figures = {"used": len(here.unique()) / self.prototypes, "fit": fit.mean() if len(here) else 0.0}
        return figures if self._churn is None else {**figures, "churn": self._churn}

    def _labels(self, waiting: list[Candidates]) -> Tensor:
        label = torch.cat([block.get("label") for block in waiting])
        if label.numel() and int(label.max()) >= self.prototypes:
            raise ValueError(
                f"{self._who}: label {int(label.max())} has no prototype: there are {self.prototypes}, for labels 0 to "
                f"{self.prototypes - 1}. Set prototypes to the number of classes."
            )
        return label

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Prototypes, counts, the cluster of each sample; equal on all processes."""
        self._settle()
        return {**super().state_dict(), **self.memory.state_dict(), "cluster": self.cluster, "churn": self._churn}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is truncated, another class's, or of another number of prototypes.
        """
        require_state(state_dict, {"z", "count", "cluster", "last", "churn"}, self._who)
        self.memory.load_state_dict(state_dict, self._who)
        super().load_state_dict(state_dict)
        cluster = state_dict["cluster"]
        self.cluster = None if cluster is None else cluster.detach().clone()
        self._churn = state_dict["churn"]
        self._waiting = []
