"""Graded pairs at every validation: whether those that are called more similar are closer, beside the encoder before training."""

from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from lightning_contrast.callbacks.beside_untrained import BesideUntrained
from lightning_contrast.callbacks.embedding import embedded, two_towers
from lightning_contrast.metrics import PairCorrelation


class PairEvaluation(BesideUntrained):
    """Logs ``val/spearman`` and ``val/pearson``: correlation of the cosines of validation pairs with their scores.

    Beside them stand ``val/spearman_untrained`` and ``val/pearson_untrained``, of the encoder before the first step. Needs pairs
    with a ``score`` (:class:`~lightning_contrast.data.TextDataModule`, ``WordNetDataModule`` with ``task: similarity``). All
    processes together encode the pairs, with the weights of now, in evaluation mode. Not in the sanity check.

    Args:
        every_n_epochs: at the validations of every n-th epoch.

    Raises:
        ValueError: for a number out of range; for pairs without scores, or whose scores are all equal.
    """

    shown = "spearman"

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Says when there is nothing to correlate with."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._pairs(trainer)

    def _pairs(self, trainer: Any) -> Any:
        data: Any = getattr(trainer, "datamodule", None)
        loader: Any = data.val_dataloader() if hasattr(data, "val_dataloader") else None
        known = loader.dataset[0] if hasattr(loader, "dataset") else {}
        if not isinstance(known, dict) or not {"query", "document", "score"} <= set(known):
            held = f"{type(data).__name__}'s validation data have {sorted(known)}" if data else "there is no DataModule"
            raise ValueError(
                f"PairEvaluation reads query, document and score of a DataModule's validation pairs, but {held}: use pairs with a "
                "column 'score', or remove the callback."
            )
        return loader

    def scores(self, trainer: Any, pl_module: Any) -> dict[str, float]:
        """``spearman`` and ``pearson``."""
        towers = two_towers(pl_module)  # of two towers embeddings, as only there they are comparable

        def read(batch: Any) -> dict[str, Tensor]:
            one, two = (pl_module.project, pl_module.project_keys) if towers else (pl_module.embed, pl_module.embed)
            return {"z": one(batch["query"]).float(), "d": two(batch["document"]).float(), "score": batch["score"]}

        found = embedded(trainer, pl_module, self._pairs(trainer), read)
        out = {}
        for kind in ("spearman", "pearson"):
            metric = PairCorrelation(kind, sync_on_compute=False)  # complete on every process already
            metric.update(found["z"], found["d"], found["score"])
            out[kind] = float(metric.compute())
        return out
