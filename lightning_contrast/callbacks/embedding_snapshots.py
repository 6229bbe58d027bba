"""Where the same few validation samples lie, through training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from lightning_contrast.callbacks.callback import ContrastCallback, require_state
from lightning_contrast.callbacks.embedding import as_mapping, first_input, gathered, joined_columns
from lightning_contrast.callbacks.pictures import draw_map, log_picture
from lightning_contrast.callbacks.thinned import Thinned
from lightning_contrast.functional.whole_file import whole_file

FILE = "snapshots.npz"


class EmbeddingSnapshots(ContrastCallback):
    """Records the features of some validation samples at validations, for ``lightning-contrast report``.

    The samples are every n-th of the first validation loader, so that they are the same ones each time and on any number
    of processes; features are those before the head, in half precision. Writes ``snapshots.npz`` into the run folder (``trainer.log_dir``, else
    ``default_root_dir``): ``step`` ``[T]``, ``embedding`` float16 ``[T, S, F]``, and ``index``, ``label`` ``[S]`` where the
    batches have them. Does nothing for data without a length, for inputs
    that are not one tensor, and in the sanity check. Two principal components of the newest go, as the picture ``embedding/map``, to
    loggers that take pictures.

    Args:
        sample: validation samples, >= 2.
        keep: snapshots at most, evenly spaced through training, >= 3.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, sample: int = 300, keep: int = 8) -> None:
        if sample < 2:
            raise ValueError(f"sample={sample}: at least 2 samples are needed (300 are usual).")
        self.sample = sample
        self.record: Thinned[dict[str, Any]] = Thinned(keep)
        self._every = 0
        self._length = 0  # of the data set
        self._seen = 0  # on this process
        self._shared = (1, 0)  # processes among whom the samples are dealt out, and this one's place
        self._parts: list[dict[str, Tensor]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Counts the samples, to take every n-th."""
        self._parts, self._seen, self._every = [], 0, 0
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        loaders = trainer.val_dataloaders
        first = loaders[0] if isinstance(loaders, (list, tuple)) else loaders
        dataset = getattr(first, "dataset", None)
        if dataset is not None and hasattr(dataset, "__len__"):
            self._length = len(dataset)
            self._every = max(1, -(-self._length // self.sample))
            sampler = getattr(first, "sampler", None)
            self._shared = (1, 0)
            if isinstance(sampler, DistributedSampler):
                self._shared = (sampler.num_replicas, sampler.rank)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Encodes this batch's share."""
        batch = as_mapping(batch)
        if not self._every or dataloader_idx or not isinstance(batch, Mapping):
            return
        inputs = first_input(batch)
        if not isinstance(inputs, Tensor):
            return
        processes, place = self._shared
        positions = (self._seen + torch.arange(len(inputs), device=inputs.device)) * processes + place
        wanted = positions % self._every == 0
        wanted[0] |= self._seen == 0  # nobody comes to the gathering with nothing
        self._seen += len(inputs)
        rows = wanted.nonzero()[:, 0]
        if not len(rows):
            return
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            z = pl_module.embed(inputs[rows])
        known = {key: batch[key][rows] for key in ("index", "label") if isinstance(batch.get(key), Tensor)}
        known = {key: value for key, value in known.items() if value.dim() == 1 and not value.is_floating_point()}
        self._parts.append({"position": positions[rows], "embedding": z.flatten(1).to(torch.float16), **known})

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Puts the shares together and writes."""
        if not self._every:
            return
        taken = gathered(joined_columns(self._parts), pl_module.device) if self._parts else {}
        self._parts = []
        folder = trainer.log_dir or trainer.default_root_dir  # asks all processes
        if not taken:
            return
        self.record.add({"step": trainer.global_step, **self._in_order(taken)})
        if trainer.is_global_zero:
            write_snapshots(Path(folder) / FILE, self.record.entries)
            log_picture(trainer, "embedding/map", lambda axes: draw_map(axes, self.record.entries[-1]))

    def _in_order(self, taken: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each sample once, as they lie in the data set, without those that fill up the last batch of a process."""
        taken = {key: value.cpu() for key, value in taken.items()}
        positions = taken.pop("position")
        first = {int(p): row for row, p in reversed(list(enumerate(positions.tolist())))}
        rows = [first[p] for p in sorted(first) if p % self._every == 0 and p < self._length]
        return {key: value[rows] for key, value in taken.items()}

    def state_dict(self) -> dict[str, Any]:
        """The record."""
        return {**super().state_dict(), **self.record.state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state.
        """
        require_state(state_dict, self.record.state(), "EmbeddingSnapshots")
        self.record.load(dict(state_dict))


def write_snapshots(path: Path, entries: list[dict[str, Any]]) -> None:
    """At once or not at all; entries of another size than the last (a resumed run on other data) are left out."""
    last = entries[-1]
    entries = [e for e in entries if e["embedding"].shape == last["embedding"].shape]
    arrays = {"step": np.array([e["step"] for e in entries])}
    arrays["embedding"] = np.stack([e["embedding"].numpy() for e in entries])
    arrays |= {key: last[key].numpy() for key in ("index", "label") if key in last}
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
