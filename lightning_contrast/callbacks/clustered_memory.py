"""A batch enlarged by neighbours of the same cluster (DyCE, the memory of BECLR)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.clustered_fifo import ClusteredFifo
from lightning_contrast.callbacks.prototypes import Prototypes
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.contrast.exchange import gather_rows, of_all_ranks, world_size

SOURCES = ("student", "prediction", "teacher")


class ClusteredMemory(ContrastCallback):
    """Every anchor brings ``k`` rows like itself from three memories (Poulakakis-Daktylidis and Jamali-Rad 2024, DyCE).

    The student's embeddings, its predictions and the teacher's embeddings have a first-in-first-out memory each, of
    ``scale * prototypes`` rows in ``prototypes`` clusters: k-means when it is full for the first time and every
    ``every_n_epochs``; in between a step's rows are shared out by Sinkhorn and move their prototypes. From
    ``start_epoch`` on, each row of the batch is followed by the ``k`` nearest rows of the partition of its nearest
    prototype (of the whole memory, if the partition has fewer): a private block ``name``, with payload ``prediction`` and
    ``teacher``, which the objective ``BECLR`` reads. A sample's own entries are left out, by index.

    Logs ``<name>/fill`` (share of the memory in use).

    Args:
        prototypes: clusters of each memory, >= 1.
        scale: rows a cluster, on average, >= 1.
        k: rows an anchor, >= 1.
        start_epoch: the first epoch that reads the memory, >= 0.
        every_n_epochs: epochs between clusterings of the memory, >= 1.
        momentum: of the prototypes, in [0, 1).
        epsilon: of Sinkhorn, > 0.
        iterations: of Sinkhorn, >= 1.
        kmeans_iterations: at most, >= 1.
        seed: of k-means.
        name: of the block and in logs.

    Raises:
        ValueError: for values out of range; at set-up for an objective without predictions.
    """

    def __init__(
        self,
        prototypes: int = 200,
        scale: int = 40,
        k: int = 5,
        start_epoch: int = 60,
        every_n_epochs: int = 60,
        momentum: float = 0.9,
        epsilon: float = 0.05,
        iterations: int = 10,
        kmeans_iterations: int = 20,
        seed: int = 0,
        name: str = "neighbours",
    ) -> None:
        for key, value in (("prototypes", prototypes), ("scale", scale), ("k", k), ("every_n_epochs", every_n_epochs)):
            if value < 1:
                raise ValueError(f"{key}={value}: must be at least 1.")
        if start_epoch < 0 or kmeans_iterations < 1:
            raise ValueError(
                f"start_epoch={start_epoch}, kmeans_iterations={kmeans_iterations}: must be >= 0 and >= 1."
            )
        if k > prototypes * scale:
            raise ValueError(f"k={k}: more than the prototypes * scale = {prototypes * scale} rows of the memory.")
        self.prototypes, self.scale, self.k = prototypes, scale, k
        self.start_epoch, self.every_n_epochs, self.name = start_epoch, every_n_epochs, name
        self.memories = {
            source: ClusteredFifo(
                prototypes * scale, Prototypes(prototypes, momentum, epsilon, iterations), kmeans_iterations, seed
            )
            for source in SOURCES
        }
        self._clustered = 0
        """The last epoch before which the memories were clustered."""
        self._waiting: list[dict[str, Tensor]] = []

    @property
    def state_key(self) -> str:
        """One entry in the checkpoint for each name."""
        return self._generate_state_key(name=self.name)

    @property
    def _who(self) -> str:
        return f"ClusteredMemory(name={self.name!r})"

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Only an objective that reads its rows has a use for them."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        if not hasattr(pl_module.objective, "predictor"):
            raise ValueError(
                f"{self._who} adds rows with predictions, which {type(pl_module.objective).__name__} does not read: use it with "
                "the objective BECLR."
            )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Clusters the memories anew, once at the start of an epoch that is due."""
        epoch = trainer.current_epoch
        if epoch != self._clustered and epoch % self.every_n_epochs == 0:
            self._clustered = epoch
            for memory in self.memories.values():
                if memory.ready:
                    memory.cluster()

    # Score --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends each anchor's neighbours."""
        ready = all(memory.ready for memory in self.memories.values())
        if not ready or trainer.current_epoch < self.start_epoch:
            return contrast
        index = contrast.anchors.get("index")
        found = {
            source: self.memories[source].neighbours(self._fitting(source, z), index, self.k)
            for source, z in self._rows(contrast).items()
        }
        z, samples = found["student"]
        payload = {"index": samples, "prediction": found["prediction"][0], "teacher": found["teacher"][0]}
        return contrast.append(Candidates(z, payload, name=self.name, where="private", prepared=True))

    def _fitting(self, source: str, z: Tensor) -> Tensor:
        self.memories[source].prototypes.check_width(z, self._who)
        return z

    def _rows(self, contrast: Contrast) -> dict[str, Tensor]:
        """The three kinds of rows, ``[n, D]`` each, unit length."""
        similarity = contrast.similarity or Cosine()
        anchors, teacher = contrast.anchors, contrast.candidates[0]
        z, t = (b.first if b.prepared else similarity.prepare(b.first) for b in (anchors, teacher))
        assert isinstance(z, Tensor)
        assert isinstance(t, Tensor)
        p = F.normalize(anchors.get("prediction"), dim=1)
        return {"student": z.detach(), "prediction": p.detach(), "teacher": t.detach()}

    # Then write ---------------------------------------------------------------------------------------------------

    def on_contrast_end(self, trainer: Any, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Keeps the rows of all processes, in one order, until everybody has seen the step."""
        alone = world_size() > 1 and pl_module.exchange == "none"
        block = of_all_ranks(contrast.anchors) if alone else contrast.anchors
        rows = {**self._rows(contrast), **{key: block.get(key) for key in ("index", "view", "position")}}
        if alone:
            rows = {key: gather_rows(value.contiguous()) for key, value in rows.items()}
        # gathered rows come process by process; one process has them by view and place
        view, position = rows.pop("view"), rows.pop("position")
        order = torch.argsort(view * (position.max() + 1) + position, stable=True)
        self._waiting.append({key: value[order] for key, value in rows.items()})

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Writes, and logs the fill."""
        self._settle()
        if logs_now(trainer):
            fifo = self.memories["student"].fifo
            pl_module.log_dict({f"{self.name}/fill": fifo.fill / fifo.size})

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for rows in waiting:
            for source, memory in self.memories.items():
                memory.write(rows[source].float(), rows["index"], self._who)

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The three memories; equal on all processes."""
        self._settle()
        return {"clustered": self._clustered, **{s: memory.state_dict() for s, memory in self.memories.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is truncated, another class's, or of another size.
        """
        require_state(state_dict, {"clustered", *SOURCES}, self._who)
        for source, memory in self.memories.items():
            memory.load_state_dict(state_dict[source], self._who)
        self._clustered = int(state_dict["clustered"])
        self._waiting = []
