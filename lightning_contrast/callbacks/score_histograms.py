"""How similar positives and negatives are, through training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, require_state
from lightning_contrast.callbacks.pictures import draw_histogram, log_histogram, log_picture
from lightning_contrast.callbacks.sample import as_vectors, some_anchors
from lightning_contrast.callbacks.thinned import Thinned
from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.functional.whole_file import write_json

ENTRIES = 2**15  # scores to look at, which bounds the cost of a look
FILE = "scores.json"


class ScoreHistograms(ContrastCallback):
    """Records histograms of the similarities of positives and negatives, for ``lightning-contrast report``.

    From a sample of the first direction's anchors, at logging steps; the same sample as :class:`GeometryMonitor` looks at.
    Of several processes it is the first one's anchors, against the candidates of all. Writes ``scores.json`` into the run folder (``trainer.log_dir``, else
    ``default_root_dir``) after each validation and at the end: ``{"bins": [{"step", "low", "high", "positive": [counts],
    "negative": [counts]}, ...]}``. Cosines are counted over [-1, 1], what reaches further over its own range. The newest goes, as the picture ``scores/histogram``, to
    loggers that take pictures, and as the histograms ``scores/positive`` and ``scores/negative`` to those that keep such.

    Args:
        bins: of each histogram, >= 2.
        keep: histograms at most, evenly spaced through training, >= 3.

    Raises:
        ValueError: for values out of range.
    """

    reads_vectors = False

    def __init__(self, bins: int = 50, keep: int = 48) -> None:
        if bins < 2:
            raise ValueError(f"bins={bins}: must be at least 2.")
        self.bins = bins
        self.record: Thinned[dict[str, Any]] = Thinned(keep)
        self._looked = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The next contrast is the first of its step."""
        self._looked = False

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Looks."""
        if self._looked or not logs_now(trainer):
            return
        self._looked = True
        found = histograms(contrast, self.bins)
        if found is not None:
            self.record.add({"step": trainer.global_step, **found})

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes what there is."""
        if not trainer.sanity_checking and trainer.state.fn == "fit":
            self._write(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes all."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        folder = trainer.log_dir or trainer.default_root_dir  # asks all processes
        if trainer.is_global_zero and self.record.entries:
            write_json(Path(folder) / FILE, {"bins": self.record.entries})
            newest = self.record.entries[-1]
            log_picture(trainer, "scores/histogram", lambda axes: draw_histogram(axes, newest))
            for name in ("positive", "negative"):
                log_histogram(trainer, f"scores/{name}", newest[name], newest["low"], newest["high"])

    def state_dict(self) -> dict[str, Any]:
        """The record."""
        return {**super().state_dict(), **self.record.state()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state.
        """
        require_state(state_dict, self.record.state(), "ScoreHistograms")
        self.record.load(dict(state_dict))


@torch.no_grad()
def histograms(contrast: Contrast, bins: int) -> dict[str, Any] | None:
    """Counts of the similarities of positives and of negatives in equal bins from ``low`` to ``high``.

    Args:
        contrast: exchanged and prepared.
        bins: of each.

    Returns:
        ``low``, ``high``, ``positive`` and ``negative`` (lists of ``bins`` counts); ``None`` where nothing is scored.
    """
    columns = max(1, sum(b.rows for b in contrast.candidates))
    some = some_anchors(as_vectors(contrast), max(16, ENTRIES // columns), ENTRIES)
    if not some.anchors.rows:
        return None
    scores = Scores(some)
    exists, similarity = scores.exists, scores.similarity.float()
    exists = exists & similarity.isfinite()
    if not bool(exists.any()):
        return None
    all_of = similarity[exists]
    low, high = float(all_of.min()), float(all_of.max())
    if low >= -1.001 and high <= 1.001:
        low, high = -1.0, 1.0
    elif not low < high:
        low, high = low - 0.5, high + 0.5
    positive = exists & (scores.target > 0)
    counted = {}
    for name, chosen in (("positive", positive), ("negative", exists & ~positive)):
        values = similarity[chosen].clamp(low, high).cpu()
        counted[name] = [int(count) for count in torch.histc(values, bins, low, high)]
    return {"low": low, "high": high, **counted}
