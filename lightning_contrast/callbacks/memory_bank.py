"""One slot a sample: the embedding it had when it was last seen, and numbers that belong to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.anchor_figures import anchor_figures
from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins
from lightning_contrast.callbacks.keys import gathered_keys
from lightning_contrast.callbacks.sample_scalars import SampleScalars
from lightning_contrast.callbacks.slots import Slots
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.counter_random import hash_integers


class MemoryBank(ContrastCallback):
    """A slot for every sample of the training data, by index (Wu et al. 2018, section 3).

    After a step the keys of all processes are written: ``slot <- momentum slot + (1 - momentum) key``, to unit length where
    the key is; a slot's first key is taken as it is. Several keys of one sample in a step (views) count as their mean.
    Other callbacks read it (:meth:`neighbours`, :attr:`z`, :attr:`known`); with ``negatives`` it is a block of candidates
    itself, the anchor's own slot masked by its index.

    With ``scalars`` it also keeps numbers of each sample: its ``loss`` (if the objective is a mean over anchors), its
    ``temperature`` (per-sample, as iSogCLR's), any figure or payload of the anchors. The last ``history`` of them are in
    ``bank.scalars.table[key]``; the newest travels as payload ``<name>_<key>`` (such as ``pair.anchor.bank_loss``), NaN
    until there is one.

    Slots are equal on all processes, or, ``sharded``, shared out: each process holds its part of the embeddings, and
    :meth:`neighbours` (like ``state_dict``, so saving) is called by all of them together. Results are the same.

    Logs ``<name>/fill`` (the share of slots that hold something) and ``<name>/age`` (mean, in optimizer steps).

    Args:
        size: number of slots, one more than the largest index; ``None`` learns it from the training data: from their
            ``index``, where they are a part of a larger data set and keep its numbers, else from their length.
        momentum: in [0, 1); 0 keeps the newest key, 0.5 is the paper's.
        negatives: so many filled slots, drawn anew each step, are candidates; 0 is none.
        seed: of the draws.
        name: of the block and in logs.
        scalars: names of the numbers to keep.
        history: how many of each, >= 1.
        sharded: whether the processes share the embeddings out.

    Raises:
        ValueError: for values out of range; before training for data without a length, or ``loss`` of an objective that
            has none an anchor; for an index beyond the bank.
    """

    def __init__(
        self,
        size: int | None = None,
        momentum: float = 0.5,
        negatives: int = 0,
        seed: int = 0,
        name: str = "bank",
        scalars: Sequence[str] = (),
        history: int = 1,
        sharded: bool = False,
    ) -> None:
        if size is not None and size < 1:
            raise ValueError(f"size={size}: must be at least 1 sample, or None for the training data's length.")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: must lie in [0, 1); 0 keeps the newest key.")
        if negatives < 0:
            raise ValueError(f"negatives={negatives}: must be >= 0.")
        self.size, self.momentum, self.negatives, self.seed, self.name = size, momentum, negatives, seed, name
        self.sharded, self.scalars = sharded, SampleScalars(scalars, history)
        self.slots = Slots(size or 0, sharded)
        self.step: Tensor | None = None
        """``[size]``: the optimizer step at which a slot was last written; -1 for never."""
        self._waiting: list[tuple[Candidates, int]] = []
        self._figures: list[dict[str, Tensor]] = []

    @property
    def state_key(self) -> str:
        """One entry in the checkpoint for each name."""
        return self._generate_state_key(name=self.name)

    @property
    def known(self) -> Tensor:
        """Which slots hold something. Bool ``[size]``."""
        self._settle()
        return torch.zeros(self.size or 0, dtype=torch.bool) if self.step is None else self.step >= 0

    @property
    def steps(self) -> Tensor:
        """The optimizer step at which each filled slot was last written. ``[K]``."""
        self._settle()
        return torch.zeros(0, dtype=torch.int64) if self.step is None else self.step[self.step >= 0]

    @property
    def z(self) -> Tensor | None:
        """``[size, D]``, sharded only the slots of this process; rows never seen are zero."""
        self._settle()
        return self.slots.z

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuses a second memory of this name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        if "loss" in self.scalars.table and pl_module.objective.reduction == "batch":
            raise ValueError(
                f"MemoryBank(scalars=['loss']): {type(pl_module.objective).__name__} is a function of all anchors at once, so "
                "no anchor has a loss of its own. Leave 'loss' out."
            )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Learns the number of samples."""
        if self.size is None:
            try:
                self.size = _slots(trainer.train_dataloader.dataset)
            except (AttributeError, TypeError):
                raise ValueError(
                    "MemoryBank cannot tell how many samples the training data have: set size=..., one more than the "
                    "largest index."
                ) from None
        self.slots.size = self.size
        self.scalars.allocate(self.size)
        if self.sharded:  # loaded before the processes were there, or by fewer of them
            self.slots.take(self.slots.whole())

    # Reading ------------------------------------------------------------------------------------------------------

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Attaches scalars; appends drawn slots, equal on all processes."""
        contrast = self.scalars.attached(contrast, self.name)
        if not self.negatives or self.step is None or self.slots.z is None:
            return contrast
        rows = self.known.nonzero().squeeze(1)
        if not len(rows):
            return contrast
        self._to(contrast.anchors.first.device)
        generator = torch.Generator().manual_seed(hash_integers(self.seed, trainer.global_step))
        drawn = torch.randperm(len(rows), generator=generator)[: self.negatives]
        rows = rows.to(self.slots.z.device)[drawn.to(self.slots.z.device)]
        block = Candidates(self.slots.read(rows), {"index": rows}, name=self.name, where="replicated", prepared=True)
        return contrast.append(block)

    def neighbours(self, z: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines and indices of the ``k`` nearest filled slots of rows ``z [N, D]``, the nearest first, ``[N, k]``.

        Of a sharded bank each process asks for its own rows, any number, all at the same time.
        """
        rows = self.known.nonzero().squeeze(1)
        if self.slots.z is None or not len(rows):
            raise ValueError(f"MemoryBank(name={self.name!r}) holds nothing yet.")
        return self.slots.nearest(z, k, rows.to(self.slots.z.device))

    # Writing ------------------------------------------------------------------------------------------------------

    def on_contrast_end(self, trainer: Any, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Keeps the keys and figures of all processes until everybody has seen the step."""
        self._waiting.append((gathered_keys(contrast, pl_module), trainer.global_step))
        if self.scalars.table:
            self._figures.append(anchor_figures(contrast, pl_module, tuple(self.scalars.table)))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Writes, and logs fill and age."""
        self._settle()
        if self.step is not None and logs_now(trainer):
            known = self.step >= 0
            age = trainer.global_step - self.step[known].double().mean()
            pl_module.log_dict({f"{self.name}/fill": known.float().mean(), f"{self.name}/age": age.float()})

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for keys, step in waiting:
            self._write(keys, step)
        figures, self._figures = self._figures, []
        if figures:
            self.scalars.write({key: torch.cat([f[key] for f in figures]) for key in figures[0]})

    @torch.no_grad()
    def _write(self, keys: Candidates, step: int) -> None:
        index, z = keys.get("index"), keys.z
        if not isinstance(z, Tensor) or z.dim() != 2:
            raise ValueError("MemoryBank holds single embeddings [N, D], but the keys are tuples or larger.")
        size = self.size or 0
        if len(index) and not 0 <= int(index.min()) <= int(index.max()) < size:
            raise ValueError(
                f"MemoryBank(size={size}): the batch's 'index' runs from {int(index.min())} to {int(index.max())}; every "
                "sample needs its row of the training data as 'index', and the bank a slot for the largest."
            )
        if self.step is None:
            self.step = torch.full((size,), -1, dtype=torch.int64, device=z.device)
        self.slots.size = size
        self.slots.allocate(z)
        assert self.slots.z is not None
        if self.slots.z.shape[1] != z.shape[1]:
            raise ValueError(
                f"MemoryBank(name={self.name!r}) holds embeddings of width {self.slots.z.shape[1]}, the keys have "
                f"{z.shape[1]}: the checkpoint was made with another head or encoder."
            )
        self._to(z.device)
        rows, place, count = index.unique(return_inverse=True, return_counts=True)
        mean = z.new_zeros(len(rows), z.shape[1]).index_add_(0, place, z) / count[:, None]
        length = z.new_zeros(len(rows)).index_add_(0, place, z.norm(dim=1)) / count
        here, slot = self.slots.held(rows)
        mean, new = mean[here], self.step[rows[here]] < 0
        mixed = torch.where(new[:, None], mean, self.momentum * self.slots.z[slot] + (1 - self.momentum) * mean)
        # The mean of vectors is shorter than they are: give it their length (1 under cosine).
        self.slots.z[slot] = mixed * (length[here] / mixed.norm(dim=1).clamp(min=1e-12))[:, None]
        self.step[rows] = step

    def _to(self, device: torch.device) -> None:
        self.slots.to(device)
        if self.step is not None and self.step.device != device:
            self.step = self.step.to(device)

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All slots, steps and scalars; equal on all processes."""
        self._settle()
        return {"size": self.size, "z": self.slots.whole(), "step": self.step, "scalars": dict(self.scalars.table)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes, sharded or not; scalars that were not kept begin anew.

        Raises:
            ValueError: for a state that is not a bank's, truncated, or of another number of samples.
        """
        if {"size", "z", "step"} - set(state_dict):
            raise ValueError(
                f"MemoryBank(name={self.name!r}): the checkpoint's state is no bank's: {sorted(state_dict)}."
            )
        size, z, step = (state_dict[key] for key in ("size", "z", "step"))
        if self.size is not None and size not in (None, self.size):
            raise ValueError(
                f"MemoryBank(size={self.size}): the checkpoint's bank has {size} slots; indices of another data set would "
                "not mean the same samples. Use that data set, or start without the checkpoint."
            )
        scalars = state_dict.get("scalars", {})
        if (z is None) != (step is None) or any(t is not None and len(t) != size for t in (z, step, *scalars.values())):
            raise ValueError(
                f"MemoryBank(name={self.name!r}): the checkpoint's state is truncated: {size} slots, but "
                f"{None if z is None else len(z)} embeddings and {None if step is None else len(step)} steps."
            )
        self.scalars.take(scalars)
        self.size = size
        self.slots = Slots(size or 0, self.sharded)
        self.slots.take(z)
        self.step = None if step is None else step.detach().clone()
        self._waiting, self._figures = [], []


def _slots(dataset: Any) -> int:
    index = getattr(dataset, "index", None)
    rows = len(dataset)
    return max(rows, int(index.max()) + 1) if isinstance(index, Tensor) and index.numel() else rows
