"""Everything goes through any Lightning logger under its documented name: CSV, TensorBoard's files, a W&B-like one; and
Lightning's own callbacks stop and keep checkpoints by a representation metric."""

import csv

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger

from lightning_contrast.callbacks import (
    EmbeddingSnapshots,
    GeometryMonitor,
    MemoryQueue,
    OnlineKNN,
    ScoreHistograms,
    StalenessMonitor,
)
from tests.callbacks.kit import fit, moco, simclr
from tests.modules.test_contrastive import loader

NAMES = {
    "train/loss", "train/temperature", "val/loss", "val/knn", "queue/fill", "queue/age", "queue/drift",
    "queue/drift_oldest", "geometry/alignment", "geometry/uniformity", "geometry/effective_rank", "geometry/chance",
    "geometry/seconds", "geometry/gradient_hardest_1", "geometry/effective_negatives",
}  # fmt: skip


class WandbLike(Logger):
    """What W&B's logger has: metrics with a step, ``log_image``, an experiment whose ``log`` takes a dict."""

    name, version = "run", 0

    def __init__(self):
        super().__init__()
        self.logged, self.images, self.experiment = {}, {}, self

    def log(self, values, step=None):
        self.logged |= {name: (value, step) for name, value in values.items()}

    def log_metrics(self, metrics, step=None):
        assert all(isinstance(value, float | int) for value in metrics.values())
        self.experiment.log(metrics, step)

    def log_hyperparams(self, params, *args, **kwargs):
        pass

    def log_image(self, key, images, step=None):
        self.images[key] = (images[0].shape, step)


def watched(folder, loggers):
    callbacks = [
        MemoryQueue(64), GeometryMonitor(gradient_share=True), StalenessMonitor(sample=4), ScoreHistograms(),
        EmbeddingSnapshots(sample=10), OnlineKNN(k=3, bank_size=32),
    ]  # fmt: skip
    return fit(moco(), callbacks, 8, val=loader(40), logger=loggers, log_every_n_steps=1, default_root_dir=folder)


def test_csv_and_a_logger_like_wandbs(tmp_path):
    wandb = WandbLike()
    t = watched(tmp_path, [CSVLogger(tmp_path, name="", version=""), wandb])
    with (tmp_path / "metrics.csv").open() as file:
        columns = {name for row in csv.DictReader(file) for name, value in row.items() if value}
    assert columns >= NAMES
    assert set(wandb.logged) >= NAMES
    assert set(wandb.logged) == columns - {"step"}
    assert wandb.logged["train/loss"] == (pytest.approx(float(t.callback_metrics["train/loss"])), 7)
    assert set(wandb.images) == {"scores/histogram", "embedding/map"}
    assert {step for _, step in wandb.images.values()} == {8}


def test_tensorboards_files_read_back(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    t = watched(tmp_path, [TensorBoardLogger(tmp_path, name="", version="")])
    t.loggers[0].finalize("success")
    held = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    held.Reload()
    assert set(held.Tags()["scalars"]) >= NAMES
    assert [event.step for event in held.Scalars("train/loss")] == list(range(8))
    assert held.Scalars("train/loss")[-1].value == pytest.approx(float(t.callback_metrics["train/loss"]))
    assert set(held.Tags()["images"]) == {"scores/histogram", "embedding/map"}
    assert [event.step for event in held.Images("embedding/map")] == [4, 8]
    assert held.Images("scores/histogram")[-1].encoded_image_string.startswith(b"\x89PNG")
    assert set(held.Tags()["histograms"]) == {"scores/positive", "scores/negative"}
    record = next(c for c in t.callbacks if isinstance(c, ScoreHistograms)).record.entries[-1]
    for name in ("positive", "negative"):
        found = held.Histograms(f"scores/{name}")[-1].histogram_value
        assert found.num == sum(record[name])
        # TensorBoard leaves empty bins out where it can
        counts = dict(zip(np.linspace(-1, 1, 51)[1:].round(6), record[name], strict=True))
        kept = dict(zip(np.round(found.bucket_limit, 6), found.bucket, strict=True))
        assert {limit: n for limit, n in kept.items() if n} == {limit: n for limit, n in counts.items() if n}


def test_stopping_and_keeping_by_a_representation_metric(tmp_path):
    """The learning rate is 0, so that kNN never improves: stopped by patience; the first checkpoint is the best."""
    module = simclr()
    module.optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.0)
    stop = EarlyStopping("val/knn", mode="max", patience=2, check_on_train_epoch_end=False)
    keep = ModelCheckpoint(tmp_path, monitor="val/knn", mode="max", filename="best")
    rank = ModelCheckpoint(tmp_path, monitor="geometry/effective_rank", mode="max", filename="rank")
    t = fit(module, [OnlineKNN(k=3, bank_size=32), GeometryMonitor(), stop, keep, rank], 40, val=loader(40),
            enable_checkpointing=True, log_every_n_steps=1, default_root_dir=tmp_path)  # fmt: skip
    assert t.global_step == 3 * 4, "three validations, the last two without improvement"
    assert float(keep.best_model_score) == pytest.approx(float(t.callback_metrics["val/knn"]))
    assert torch.load(keep.best_model_path, weights_only=True)["global_step"] == 4
    assert rank.best_model_path.endswith("rank.ckpt")
