"""Training in stages, each within the clusters of what was learnt before (MCL)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from lightning_contrast.callbacks.callback import logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.contrast import Contrast, Pair, pair_function
from lightning_contrast.functional.by_index import looked_up
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.functional.mixed_radix import join_stages, mixed_radix

_STATE = ("stage", "label", "clusters", "encoders")


class StageClusters(Reembed):
    """After every stage clusters the features of all training samples; later, negatives come from the anchor's cluster.

    A sample's pseudo-label is the tuple of its clusters in all stages so far, and pairs of different pseudo-labels are
    excluded: what has been learnt cannot tell an anchor from its negatives any more, so that something else must be (Zhang
    et al. 2024, MCL). For any objective, batch, or queue, by ``index``; samples without a cluster (validation) and
    candidates that are no sample stay. The encoder goes on from stage to stage; its weights at the end of each are kept in
    this callback's state, and :meth:`features` joins all stages, the method's representation. The module's own ``embed`` is
    the last stage alone. One cluster is ordinary training.

    Logs ``<name>/stage`` (from 0), ``<name>/clusters`` (pseudo-labels in use) and ``<name>/largest`` (the largest one's
    share of the samples).

    Args:
        clusters: of each stage, >= 1; the paper: 10.
        stages: in all, >= 1; the last one is not clustered.
        every_n_epochs: epochs of a stage, >= 1.
        seed: of the clusters' first centroids.
        name: in logs.

    Raises:
        ValueError: for values out of range; before training for data without length, items or index.
    """

    def __init__(
        self, clusters: int = 10, stages: int = 3, every_n_epochs: int = 1, seed: int = 0, name: str = "stages"
    ) -> None:
        if clusters < 1 or stages < 1:
            raise ValueError(f"clusters={clusters}, stages={stages}: must be at least 1.")
        super().__init__(None, None, every_n_epochs, start=every_n_epochs)
        self.clusters, self.stages, self.seed, self.name = clusters, stages, seed, name
        self.label: Tensor | None = None
        """Pseudo-label of each index, ``[size]``; -1 where there is none."""
        self.stage = 0
        self.encoders: list[dict[str, Tensor]] = []
        """Weights of the encoder at the end of each stage so far."""
        self._rule = pair_function(swappable=True)(lambda pair: self._other(pair))

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Makes room for the encoders of earlier stages."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    @torch.no_grad()
    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """The stage has ended: clusters, and the encoder as it is."""
        if self.stage >= self.stages - 1:
            return
        z, index = data["z"].flatten(1).float(), data["index"]
        if len(z) < self.clusters:
            raise ValueError(f"StageClusters(clusters={self.clusters}): there are only {len(z)} training samples.")
        # One process decides: other hardware may settle ties another way.
        found = kmeans(z, self.clusters, seed=self.seed)[1].cpu() if trainer.is_global_zero else None
        cluster = trainer.strategy.broadcast(found).to(index.device)
        before = torch.zeros_like(cluster) if self.label is None else self.label.to(index.device)[index]
        label = torch.full((int(index.max()) + 1,), -1, dtype=torch.int64, device=index.device)
        label[index] = mixed_radix([before, cluster], [self.clusters**self.stage, self.clusters])
        self.encoders.append({k: v.detach().clone() for k, v in pl_module.encoder.state_dict().items()})
        self.label, self.stage = label, self.stage + 1

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Excludes other clusters."""
        if self.label is None:
            return contrast
        self.label = self.label.to(contrast.anchors.first.device)
        return contrast.exclude(self._rule)

    def _other(self, pair: Pair) -> Tensor:
        a, b = self._labels(pair.anchor.index), self._labels(pair.candidate.index)
        return (a != b) & (a >= 0) & (b >= 0) & (pair.target <= 0)

    def _labels(self, index: Tensor) -> Tensor:
        assert self.label is not None
        return looked_up(self.label, index, -1)

    def features(self, pl_module: Any, inputs: Any) -> Tensor:
        """Features of all stages so far, each of unit length, side by side: ``[N, stages * F]``.

        Args:
            pl_module: the module that was trained with this callback.
            inputs: what its encoder takes.
        """
        earlier = []
        for weights in self.encoders:
            here = {key: value.to(pl_module.device) for key, value in weights.items()}
            earlier.append(functional_call(pl_module.encoder, here, (inputs,)))
        return join_stages([*earlier, pl_module.embed(inputs)])

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the stage."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if not logs_now(trainer):
            return
        figures = {f"{self.name}/stage": float(self.stage)}
        if self.label is not None:
            sizes = self.label[self.label >= 0].unique(return_counts=True)[1].float()
            figures[f"{self.name}/clusters"] = float(len(sizes))
            figures[f"{self.name}/largest"] = float(sizes.max() / sizes.sum())
        pl_module.log_dict(figures)

    def state_dict(self) -> dict[str, Any]:
        """Stage, pseudo-labels, and the encoders of earlier stages."""
        return {**super().state_dict(), **{key: getattr(self, key) for key in _STATE}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state, or another number of clusters.
        """
        require_state(state_dict, _STATE, "StageClusters")
        if state_dict["clusters"] != self.clusters or state_dict["stage"] >= self.stages:
            raise ValueError(
                f"StageClusters(clusters={self.clusters}, stages={self.stages}): the checkpoint has "
                f"{state_dict['clusters']} clusters and is in stage {state_dict['stage']}: keep both arguments."
            )
        super().load_state_dict({k: v for k, v in state_dict.items() if k not in _STATE})
        self.stage, self.label = int(state_dict["stage"]), state_dict["label"]
        self.encoders = list(state_dict["encoders"])
