"""Batches composed anew from what the encoder sees, every few epochs."""

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.callbacks.callback import logs_now, require_state
from lightning_contrast.callbacks.reembed import Reembed
from lightning_contrast.contrast.exchange import world_size
from lightning_contrast.data.mined import MinedBatchSampler, check_finite
from lightning_contrast.functional.by_index import looked_up, order_of

BATCHES_SEEN = 16  # of which similarity within a batch is logged


class BatchMining(Reembed):
    """Before every n-th epoch, embeds all samples and lets the training's batch sampler compose batches by them.

    The sampler (:class:`~lightning_contrast.data.NeighbourBatchSampler`, ``CommunityBatchSampler``,
    ``PseudoLabelBatchSampler``) says what is made of the embeddings; it is given to the DataModule as ``sampler``. The
    first process searches, the others receive its table. A run resumed in mid-epoch goes on with the batches of that
    epoch.

    Logs ``mining/similarity`` (mean cosine of two samples of a batch, over the first batches of the epoch),
    ``mining/chance`` (of any two samples), ``mining/seconds`` (of the search) and ``mining/age`` (epochs since). State:
    the sampler's table.

    Args:
        every_n_epochs: epochs from one time to the next.
        start: the first epoch; until then the sampler has what it was given, or random batches.
        space: ``feature``: before the head. ``embedding``: after it, what is contrasted; each sample as anchor is then
            compared with the others as keys.

    Raises:
        ValueError: for values out of range; before training if the batch sampler takes nothing mined.
    """

    def __init__(
        self, every_n_epochs: int = 1, start: int = 0, space: Literal["feature", "embedding"] = "feature"
    ) -> None:
        super().__init__(None, None, every_n_epochs, start, space)
        self.table: Tensor | None = None
        """What the sampler made, a row a sample."""
        self._epoch = -1
        self._figures: dict[str, float] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Finds samples and sampler; a resumed run hands the table over before the next batch is composed."""
        super().on_train_start(trainer, pl_module)
        sampler = self._sampler(trainer)
        sampler.awaiting = True
        if self.table is not None:
            sampler.table = self.table
            sampler.known_table()  # told now, if it is of other samples

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Embeds, when it is time: this epoch's batches are not composed yet."""
        super().on_train_batch_start(trainer, pl_module, None, 0)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Nothing: in mid-epoch batches are composed already."""

    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """Mines, and hands the table over."""
        began = time.perf_counter()
        sampler, epoch = self._sampler(trainer), trainer.current_epoch
        z, key = data["z"].float(), data.get("key", data["z"]).float()
        check_finite("BatchMining", z=z, key=key)
        rows = self._rows(trainer, data["index"])
        z, key = z[rows], key[rows]
        # One process decides: other hardware may settle ties another way, and then ranks would share no batches.
        found = sampler.mine(z, key, epoch) if trainer.is_global_zero else None
        self.table = sampler.table = trainer.strategy.broadcast(found)
        self._epoch = epoch
        z = F.normalize(z, dim=1).cpu()
        plan = sampler.plan(epoch, world_size())
        inside = [mean_cosine(z[torch.as_tensor(batch)]) for batch in islice(plan, BATCHES_SEEN)]
        self._figures = {
            "similarity": sum(inside) / max(1, len(inside)),
            "chance": mean_cosine(z),
            "seconds": time.perf_counter() - began,
        }

    def _sampler(self, trainer: Any) -> MinedBatchSampler:
        loader: Any = trainer.train_dataloader
        sampler = getattr(loader, "batch_sampler", None)
        if not isinstance(sampler, MinedBatchSampler):
            raise ValueError(
                "BatchMining composes the batches of a NeighbourBatchSampler, CommunityBatchSampler or "
                f"PseudoLabelBatchSampler, but the training loader has {type(sampler or loader).__name__}: give the "
                "DataModule one (sampler=...), or a ResumableLoader made with one."
            )
        return sampler

    def _rows(self, trainer: Any, index: Tensor) -> Tensor:
        """Rows of the embeddings in the order of the training samples."""
        assert self._source is not None
        dataset: Any = trainer.train_dataloader.dataset
        if dataset is self._source.dataset:  # embedded in this very order
            return torch.arange(len(index), device=index.device)
        own = getattr(dataset, "index", None)
        own = torch.arange(len(dataset)) if own is None else torch.as_tensor(own)
        rows = looked_up(order_of(index), own.to(index.device), -1)
        if bool((rows < 0).any()):
            raise ValueError(
                f"BatchMining: {int((rows < 0).sum())} of {len(own)} training samples are not among those embedded: the "
                "bank_dataloader() must yield the training samples, by the same 'index'."
            )
        return rows

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Logs the last time and its age."""
        if self._figures and logs_now(trainer):
            figures = {**self._figures, "age": float(trainer.current_epoch - self._epoch)}
            pl_module.log_dict({f"mining/{key}": value for key, value in figures.items()})

    def state_dict(self) -> dict[str, Any]:
        """The table and when it was made; equal on all processes."""
        return {**super().state_dict(), "table": self.table, "epoch": self._epoch, "figures": dict(self._figures)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is not this callback's.
        """
        super().load_state_dict(state_dict)
        require_state(state_dict, {"table", "epoch", "figures"}, "BatchMining")
        self.table, self._epoch = state_dict["table"], int(state_dict["epoch"])
        self._figures = dict(state_dict["figures"])


def mean_cosine(z: Tensor) -> float:
    """Of two different rows of unit length, ``(|sum z|^2 - n) / (n (n - 1))``; 0 for less than two rows."""
    n = len(z)
    return float((z.double().sum(0).square().sum() - n) / (n * (n - 1))) if n > 1 else 0.0
