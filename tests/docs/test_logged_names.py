"""The table of logged names is the truth: a run logs these names and no others."""

import inspect
import re
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import CSVLogger

from lightning_contrast import ContrastiveModule, callbacks
from lightning_contrast.data import (
    DigitsDataModule,
    HashedWords,
    NeighbourBatchSampler,
    PackageTextDataModule,
    WordNetDataModule,
)
from lightning_contrast.encoders import BagOfWords, MLPEncoder, Momentum
from lightning_contrast.objectives import BECLR, SBCL, Classification, InfoNCE, InvP
from tests.data.packages import write_sample
from tests.data.wordnet_sample import write_wordnet
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "reference" / "logged_names.md").read_text(encoding="utf-8")
LISTED = set(re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.MULTILINE))

# Every callback that logs, so that all its figures come.
LOGGING = {
    "BatchMining": callbacks.BatchMining,
    "AdversarialNegatives": lambda: callbacks.AdversarialNegatives(size=4),
    "FalseNegativeFilter": lambda: callbacks.FalseNegativeFilter(
        same_label=True, absolute_margin=0.1, relative_margin=0.1, max_score=0.9, min_score=-0.9, quantile=0.1, skip=1
    ),
    "GeometryMonitor": lambda: callbacks.GeometryMonitor(gradient_share=True),
    "HardNegativeRefresh": lambda: callbacks.HardNegativeRefresh(
        num_negatives=2,
        range_min=1,
        same_label=True,
        same_key="label",
        absolute_margin=0.01,
        relative_margin=0.01,
        max_score=0.99,
        min_score=-0.9,
        quantile=0.1,
        sampling_strategy="softmax",
    ),
    "ImportanceWeights": lambda: callbacks.ImportanceWeights(
        "label", kind="log_weight", maximum=2.0, blocks=["positive"]
    ),
    "MemoryBank": lambda: callbacks.MemoryBank(size=1797),
    "PrototypeMemory": lambda: callbacks.PrototypeMemory(4, every_n_steps=1),
    "MemoryQueue": lambda: callbacks.MemoryQueue(size=64),
    "NoiseNegatives": lambda: callbacks.NoiseNegatives(count=8),
    "StalenessMonitor": lambda: callbacks.StalenessMonitor(sample=4),
    "StageClusters": lambda: callbacks.StageClusters(clusters=3, stages=2),
    "OnlineKNN": lambda: callbacks.OnlineKNN(k=3, bank_size=64),
    "OnlineLinearProbe": lambda: callbacks.OnlineLinearProbe(steps=2, bank_size=64),
}


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_run_logs_the_listed_names(tmp_path: Path) -> None:
    module = ContrastiveModule(
        MLPEncoder([16], 8), InfoNCE(0.2), key_encoder=Momentum(), predictor=None, in_batch=True, both_orders=True
    )
    data = DigitsDataModule(batch_size=32, sampler=partial(NeighbourBatchSampler, neighbours=16, select=8))
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=3, limit_val_batches=1, limit_test_batches=1, log_every_n_steps=1,
        accelerator="cpu", num_sanity_val_steps=0, enable_progress_bar=False, enable_model_summary=False,
        logger=CSVLogger(str(tmp_path), name="", version=""), callbacks=[make() for make in LOGGING.values()],
        default_root_dir=str(tmp_path), enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, data)
    assert {"train/loss", "val/loss"} <= set(trainer.callback_metrics)
    found = set(trainer.logged_metrics) | set((tmp_path / "metrics.csv").read_text().splitlines()[0].split(","))
    trainer.test(module, data, verbose=False)
    found |= set(trainer.logged_metrics)
    found |= with_its_objective() | on_texts(tmp_path)
    assert found - {"epoch", "step", ""} == LISTED


# Callbacks of one objective, which cannot be in a run with another, and what must stand before them.
OF_ONE_OBJECTIVE = {
    "ClusterNegatives": lambda: (InfoNCE(), [callbacks.ClusterNegatives(4, start_cosine=1.0)]),
    "EntryBank": lambda: (InfoNCE(), [callbacks.EntryBank("label", "none", every_n_steps=1)]),
    "ClusteredMemory": lambda: (BECLR(), [callbacks.ClusteredMemory(2, scale=4, k=1)]),
    "FeatureTransformation": lambda: (InfoNCE(), [callbacks.MemoryQueue(64), callbacks.FeatureTransformation()]),
    "InvariancePropagation": lambda: (InvP(), [callbacks.MemoryBank(), callbacks.InvariancePropagation(background=8)]),
    "SelecMix": lambda: (Classification(10), [callbacks.SelecMix()]),
    "Subclasses": lambda: (SBCL(), [callbacks.Subclasses(start=0)]),
}


def with_its_objective() -> set[str]:
    found: set[str] = set()
    for name, make in OF_ONE_OBJECTIVE.items():
        objective, parts = make()
        trainer = pl.Trainer(
            max_epochs=2, limit_train_batches=2, accelerator="cpu", num_sanity_val_steps=0, limit_val_batches=0,
            enable_progress_bar=False, enable_model_summary=False, logger=False, callbacks=parts, log_every_n_steps=1,
            enable_checkpointing=False,
        )  # fmt: skip
        keys = Momentum() if name == "FeatureTransformation" else None
        module = ContrastiveModule(MLPEncoder([16], 8), objective, key_encoder=keys)
        trainer.fit(module, DigitsDataModule(batch_size=32))
        found |= set(trainer.callback_metrics)
    return found


def on_texts(folder: Path) -> set[str]:
    """What only texts have."""
    data = PackageTextDataModule(root=str(write_sample(folder)), tokenizer=HashedWords(words=500), batch_size=16)
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=1, accelerator="cpu", num_sanity_val_steps=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[callbacks.SearchEvaluation(["ndcg@10"])],
    )  # fmt: skip
    trainer.fit(ContrastiveModule(BagOfWords(500, 8), InfoNCE()), data)
    pairs = WordNetDataModule("similarity", root=str(write_wordnet(folder)), tokenizer=HashedWords(words=500))
    graded = pl.Trainer(
        max_epochs=1, limit_train_batches=1, accelerator="cpu", num_sanity_val_steps=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        callbacks=[callbacks.PairEvaluation()],
    )  # fmt: skip
    graded.fit(ContrastiveModule(BagOfWords(500, 8), InfoNCE()), pairs)
    return set(trainer.callback_metrics) | set(graded.callback_metrics)


def test_every_callback_that_logs_is_in_that_run() -> None:
    ours = [
        c for _, c in inspect.getmembers(callbacks, inspect.isclass) if c.__module__.startswith("lightning_contrast")
    ]
    logging = {c.__name__ for c in ours if _logs(c)} - {"BM25Negatives"}  # has no refreshes to tell of
    assert logging == set(LOGGING) | set(OF_ONE_OBJECTIVE) | {"PairEvaluation", "SearchEvaluation"}


def _logs(callback: type) -> bool:
    return any(
        re.search(r"pl_module\.log(_dict)?\(", inspect.getsource(base))
        for base in callback.__mro__
        if base.__module__.startswith("lightning_contrast")
    )
