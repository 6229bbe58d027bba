"""What ``predict`` and ``embed`` leave behind: embeddings with their ids, in one file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info

from lightning_contrast.data.embedding_table import EmbeddingTable, write_embeddings
from lightning_contrast.functional.whole_file import table_path

Texts = Callable[[np.ndarray], Sequence[str] | None]


class EmbeddingWriter(BasePredictionWriter):
    """Writes ``embedding`` float32 ``[N, F]``, ``index`` int64 ``[N]`` and what else of a batch has one number a row, such as
    ``label``: ``.npz``, or ``.parquet`` with pyarrow.

    Rows are in the order of their index, each once: what a distributed sampler repeats to fill up is left out. With
    several loaders there is ``dataloader`` ``[N]`` too. The file appears whole or not at all.

    Args:
        path: of the file; its folder is made.
        texts: from the ids ``[N]`` to what a person is shown of each.
        made_by: kept in the file: which weights, which data.

    Raises:
        ValueError: for another ending; when written, for embeddings that are not finite and for samples that share an id.
        ImportError: for ``.parquet`` without pyarrow.
    """

    def __init__(
        self, path: str = "embeddings.npz", texts: Texts | None = None, made_by: dict[str, str] | None = None
    ) -> None:
        super().__init__(write_interval="batch")
        self.path = table_path(path)
        self.texts, self.made_by = texts, made_by or {}
        self._rows: list[dict[str, np.ndarray]] = []

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew."""
        self._rows = []

    def write_on_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keeps the rows in memory, off the device."""
        z = prediction["embedding"].detach().float().cpu()
        # Batches without index: the sampler knows which samples they are.
        index = prediction.get("index", batch_indices)
        known = {
            key: value.cpu().numpy()
            for key, value in prediction.items()
            if key not in ("embedding", "index") and value.shape == (len(z),)
        }
        self._rows.append(
            {
                "embedding": z.numpy(),
                "index": torch.as_tensor(index, dtype=torch.int64).cpu().numpy(),
                "dataloader": np.full(len(z), dataloader_idx),
                **known,
            }
        )

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Each process leaves its part; the first one joins them, and tells the others what is wrong with them."""
        self.path = Path(trainer.strategy.broadcast(str(self.path)))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        parts = [self.path.with_name(f".{self.path.stem}.{rank}.part.npz") for rank in range(trainer.world_size)]
        if self._rows and trainer.world_size > 1:
            np.savez(parts[trainer.global_rank], **_concatenated(self._rows))  # type: ignore[arg-type]
        trainer.strategy.barrier("embeddings written")
        wrong: str | None = None
        if trainer.is_global_zero:
            try:
                self._join(parts if trainer.world_size > 1 else None, _rows_of(trainer))
            except ValueError as error:
                wrong = str(error)
        self._rows = []
        wrong = trainer.strategy.broadcast(wrong)
        if wrong is not None:
            raise ValueError(wrong)

    def _join(self, parts: list[Path] | None, rows: int | None) -> None:
        """Write what all processes left; ``rows`` is how many samples the data have."""
        held = []
        try:
            for part in parts or []:
                if part.is_file():
                    with np.load(part) as file:
                        held.append(dict(file))
        finally:
            for part in parts or []:
                part.unlink(missing_ok=True)
        held = self._rows if parts is None else held
        if not held:
            return
        whole = _concatenated(held)
        _, first = np.unique(np.stack([whole["dataloader"], whole["index"]]), axis=1, return_index=True)
        repeated = rows is not None and len(whole["index"]) > rows
        if len(first) == len(whole["index"]) or (repeated and len(first) == rows):
            whole = {key: value[first] for key, value in whole.items()}  # else EmbeddingTable names who shares an id
        if not whole["dataloader"].any():
            del whole["dataloader"]
        z, index = whole.pop("embedding"), whole.pop("index")
        text = self.texts(index) if self.texts is not None else None
        write_embeddings(self.path, EmbeddingTable(z, index, whole, text, self.made_by))
        rank_zero_info(f"{len(index)} embeddings of {z.shape[1]} numbers: {self.path}")


def _rows_of(trainer: pl.Trainer) -> int | None:
    """Samples of all loaders, where that is known."""
    loaders = trainer.predict_dataloaders
    loaders = loaders if isinstance(loaders, (list, tuple)) else [loaders]
    try:
        return sum(len(loader.dataset) for loader in loaders)
    except (AttributeError, TypeError):
        return None


def _concatenated(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    keys = set.intersection(*(set(part) for part in parts))
    return {key: np.concatenate([part[key] for part in parts]) for key in sorted(keys)}
