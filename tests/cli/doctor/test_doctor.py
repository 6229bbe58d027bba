"""Each seeded fault yields its finding, and no other error or warning."""

import json

import pytest
import torch

from lightning_contrast.cli.doctor import examine
from lightning_contrast.cli.doctor.checks import check_names, findings_of
from lightning_contrast.cli.doctor.memory import measure

FAULTS = "tests.cli.doctor.faults"
HEALTHY = [
    "--config={trainer: {max_epochs: 1}, model: {encoder: {class_path: SmallCNN, init_args: {widths: [4, 8], norm: group}},"
    " head: {class_path: LinearHead, init_args: {output_dim: 16}},"
    " objective: {class_path: InfoNCE, init_args: {temperature: 0.1}}},"
    " data: {class_path: DigitsDataModule, init_args: {batch_size: 64}}}"
]


def spoiled(fault: str) -> list[str]:
    return [f"--data={FAULTS}.SpoiledViews", f"--data.fault={fault}", "--data.batch_size=64"]


def encoder(fault: str) -> list[str]:
    return [f"--model.encoder={FAULTS}.SpoiledEncoder", f"--model.encoder.fault={fault}"]


SAME = "--data.augmentation={class_path: ImageAugmentation, init_args: {scale: [1, 1], ratio: [1, 1], flip: 0, color: 0, blur: 0}}"
NORMED = ["--model.encoder.norm=batch"]
QUEUE = "--trainer.callbacks=[{class_path: MemoryQueue, init_args: {size: %d}}]"

SEEDED = {
    "views-identical": [SAME],
    "views-unrelated": spoiled("strangers"),
    "positives-less-similar": [*spoiled("inverted"), *encoder("spare")[:1], "--model.encoder.fault=large"],
    "label-leaks": spoiled("labelled"),
    "id-leaks": spoiled("numbered"),
    "duplicates-as-negatives": [f"--data={FAULTS}.Repeated", "--data.batch_size=64"],
    "ids-repeat": spoiled("one_index"),
    "no-negatives": ["--data.pairs=true", "--model.in_batch=false"],
    "few-negatives": ["--data.batch_size=8"],
    "anchors-left-out": [*spoiled("own_label"), "--data.n_views=1", "--model.objective=SupCon"],
    "negatives-excluded": ["--trainer.callbacks=[{class_path: FalseNegativeFilter, init_args: {max_score: 0.0}}]"],
    "temperature-too-low": ["--model.objective.temperature=0.001"],
    "temperature-too-high": ["--model.objective.temperature=10"],
    "loss-above-chance": [
        "--model.objective.similarity=lightning_contrast.contrast.similarity.Dot", *encoder("large"),
        "--model.optimizer=SGD", "--model.optimizer.lr=1e-6",
    ],
    "solved-at-start": [*spoiled("noise"), f"--model.encoder={FAULTS}.Pixels", "--model.head=null",
                        "--model.objective.temperature=0.05"],
    "dead-gradient": encoder("detached"),
    "exploding-gradient": encoder("steep"),
    "unused-parameters": encoder("spare"),
    "steps-too-large": ["--model.optimizer=AdamW", "--model.optimizer.lr=10"],
    "steps-too-small": ["--model.optimizer=AdamW", "--model.optimizer.lr=0"],
    "embeddings-alike": encoder("dead"),
    "batch-norm-across-ranks": [*NORMED, "--trainer.devices=2", "--trainer.accelerator=cpu"],
    "batch-norm-across-views": [*NORMED, "--model.key_encoder=Momentum", "--model.in_batch=false", QUEUE % 256],
    "batch-norm-in-chunks": [*NORMED, "--model.chunk_size=16"],
    "queue-larger-than-data": [QUEUE % 5000],
    "mined-are-positives": ["--trainer.callbacks=[HardNegativeRefresh]"],
    "inputs-not-normalised": spoiled("bright"),
    "inputs-not-finite": spoiled("nan"),
    "inputs-constant": spoiled("blank"),
    "batch-is-the-data": ["--data.batch_size=1200"],
    "fails": encoder("raising"),
    "out-of-memory": encoder("greedy"),
    "data-is-slow": [f"--data={FAULTS}.SlowDisk", "--data.batch_size=64"],
    "views-are-slow": spoiled("slow"),
}  # fmt: skip


def told(*args: str, steps: int = 3) -> dict[str, str]:
    """Severities by finding, without notes."""
    found = findings_of(examine([*HEALTHY, *args], steps))
    assert all(f.evidence and f.why and (f.change or f.severity == "note") for f in found)
    assert not [f for f in found if f.name == "not-checked"]
    return {f.name: f.severity for f in found if f.severity != "note"}


def test_a_healthy_configuration():
    assert told() == {}


@pytest.mark.parametrize("name", SEEDED)
def test_each_fault_yields_its_finding_alone(name):
    assert list(told(*SEEDED[name])) == [name]
