"""Subclasses of about equal size, found anew every few epochs (SBCL)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.balanced_kmeans import balanced_kmeans
from lightning_contrast.functional.by_index import looked_up
from lightning_contrast.functional.class_concentration import class_concentration
from lightning_contrast.objectives.sbcl import SBCL, levels

_STATE = ("subclass", "ratio")


class Subclasses(Reembed):
    """Divides each class by balanced k-means of its features into subclasses (Hou et al. 2023, SBCL, section 3.2).

    Class ``c`` of ``n_c`` training samples has ``n_c // max(smallest, n_min)`` subclasses, at least 1, where ``n_min`` is the
    size of the smallest class: the smallest class stays whole, and all subclasses are about as large as it is. The objective
    ``SBCL`` finds them as payload ``subclass``, and as ``subclass_temperature`` its ``tau`` times ``phi_c / mean phi``, where
    ``phi`` says how wide a class lies, clipped to its 20th to 80th percentile; classes with one subclass keep ``tau``. By
    ``index`` and in training only: evaluation compares classes.

    Logs ``<name>/count`` and ``<name>/largest`` (samples of the largest).

    Args:
        smallest: no subclass is planned smaller, >= 1; the paper: 10 to 20.
        start: epochs of plain SupCon before, >= 0; the paper: 10.
        every_n_epochs: epochs until they are found anew, >= 1; the paper: 10.
        iterations: of balanced k-means, >= 1.
        seed: of its first centroids.
        name: in logs.

    Raises:
        ValueError: for values out of range; at set-up for another objective; before training for data without length, items,
            index or label.
    """

    def __init__(
        self,
        smallest: int = 10,
        start: int = 10,
        every_n_epochs: int = 10,
        iterations: int = 5,
        seed: int = 0,
        name: str = "subclasses",
    ) -> None:
        if smallest < 1 or iterations < 1:
            raise ValueError(f"smallest={smallest}, iterations={iterations}: must be at least 1.")
        super().__init__(None, None, every_n_epochs, start=start)
        self.smallest, self.iterations, self.seed, self.name = smallest, iterations, seed, name
        self.subclass: Tensor | None = None
        """Of each index, ``[size]``; -1 where there is none."""
        self.ratio: Tensor | None = None
        """``tau_i / tau`` of each index, ``[size]``."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Only an objective that reads subclasses has a use for them."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        if not isinstance(pl_module.objective, SBCL):
            raise ValueError(
                f"Subclasses gives subclasses to the objective SBCL, but this one is {type(pl_module.objective).__name__}."
            )

    @torch.no_grad()
    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """Finds subclasses; one process decides, since other hardware may settle ties another way."""
        if "label" not in data:
            raise ValueError("Subclasses divides classes: the training data need a 'label' for every sample.")
        index, label = data["index"], data["label"]
        found = self.divided(data["z"].flatten(1).float(), label) if trainer.is_global_zero else None
        subclass, ratio = (t.to(index.device) for t in trainer.strategy.broadcast(found))
        size = int(index.max()) + 1
        self.subclass = torch.full((size,), -1, dtype=torch.int64, device=index.device)
        self.ratio = torch.ones(size, device=index.device)
        self.subclass[index], self.ratio[index] = subclass, ratio

    def divided(self, z: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Subclass and ``tau_i / tau`` of each row, ``[N]`` each. ``z: [N, D]``, ``label: [N]``, from 0."""
        counts = torch.bincount(label)
        size = max(self.smallest, int(counts[counts > 0].min()))
        phi = class_concentration(z, label)
        known = phi[~phi.isnan()]
        low, high = torch.quantile(known, torch.tensor([0.2, 0.8]).to(known))
        phi = phi.clamp(low, high)
        ratio = phi / phi[~phi.isnan()].mean()
        subclass, first = torch.empty_like(label), 0
        for c, count in enumerate(counts.tolist()):
            rows, clusters = (label == c).nonzero()[:, 0], max(1, count // size)
            if not count:
                continue
            if clusters == 1:
                subclass[rows], ratio[c] = first, 1.0
            else:
                subclass[rows] = first + balanced_kmeans(z[rows], clusters, self.iterations, self.seed)
            first += clusters
        return subclass.cpu(), ratio[label].cpu()

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Attaches subclasses and temperatures."""
        if self.subclass is None or self.ratio is None or not trainer.training:
            return contrast
        if not isinstance(contrast.temperature, (int, float)) and (
            not isinstance(contrast.temperature, Tensor) or contrast.temperature.dim()
        ):
            raise ValueError("Subclasses sets temperatures by class: SBCL needs one number as temperature beside it.")
        device = contrast.anchors.first.device
        self.subclass, self.ratio = self.subclass.to(device), self.ratio.to(device)
        tau = contrast.temperature

        def known(block: Candidates) -> Candidates:
            assert self.subclass is not None
            assert self.ratio is not None
            index = block.get("index")
            ratio = looked_up(self.ratio, index, 1.0)
            return block.attach(subclass=looked_up(self.subclass, index, -1), subclass_temperature=tau * ratio)

        return contrast.map_own(known).retarget(levels)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs number and size."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self.subclass is not None and logs_now(trainer):
            sizes = self.subclass[self.subclass >= 0].unique(return_counts=True)[1].float()
            pl_module.log_dict({f"{self.name}/count": float(len(sizes)), f"{self.name}/largest": sizes.max()})

    def state_dict(self) -> dict[str, Any]:
        """Subclasses and temperatures of all samples."""
        return {**super().state_dict(), **{key: getattr(self, key) for key in _STATE}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state.
        """
        require_state(state_dict, _STATE, "Subclasses")
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in _STATE})
        self.subclass, self.ratio = state_dict["subclass"], state_dict["ratio"]
