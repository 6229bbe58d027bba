"""What ``report`` reads is recorded: bounded, resumable, and without a trace in the training."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from lightning_contrast.callbacks import EmbeddingSnapshots, ScoreHistograms
from lightning_contrast.callbacks.score_histograms import histograms
from lightning_contrast.callbacks.thinned import Thinned
from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.ready import ready
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import assert_resumes_exactly, fit, simclr
from tests.modules.test_contrastive import Digits, loader
from tests.modules.test_processes import Sharded


@pytest.mark.parametrize("keep", [3, 4, 7])
def test_a_thinned_record_is_even_and_ends_with_the_newest(keep):
    record = Thinned(keep)
    for step in range(100):
        record.add(step)
        assert len(record.entries) <= keep
        assert record.entries[0] == 0
        assert record.entries[-1] == step
        gaps = np.diff(record.entries)[:-1]
        assert len(set(gaps.tolist())) <= 1
    again = Thinned(keep)
    again.load(record.state())
    for step in range(100, 150):
        record.add(step)
        again.add(step)
    assert again.entries == record.entries


def test_counts_by_hand():
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    (one,) = InfoNCE(0.1).directions(Contrast.from_pairs(a, b))
    found = histograms(ready(one), 4)  # positives 1 and 0.8; negatives 0.6 and 0
    assert found == {"low": -1.0, "high": 1.0, "positive": [0, 0, 0, 2], "negative": [0, 0, 1, 1]}


def test_histograms_resume_and_leave_training_alone(tmp_path):
    (before,), _ = assert_resumes_exactly(
        tmp_path, simclr, lambda: [ScoreHistograms(keep=4)], log_every_n_steps=1, default_root_dir=tmp_path
    )
    held = json.loads((tmp_path / "scores.json").read_text())["bins"]
    assert [entry["step"] for entry in held] == [entry["step"] for entry in before.record.entries]
    assert held[0]["step"] == 0
    assert all(sum(entry["positive"]) > 0 < sum(entry["negative"]) for entry in held)


def test_snapshots_are_of_the_same_samples(tmp_path):
    module, snapshots = simclr(), EmbeddingSnapshots(sample=10, keep=3)
    fit(module, [snapshots], steps=12, val=loader(40), default_root_dir=tmp_path)
    with np.load(tmp_path / "snapshots.npz") as held:
        assert held["step"].tolist() == [4, 8, 12]
        assert held["embedding"].shape[:2] == (3, 10)
        assert not np.array_equal(held["embedding"][0], held["embedding"][2])
    again = EmbeddingSnapshots(sample=10, keep=3)
    again.load_state_dict(snapshots.state_dict())
    assert again.record.entries[0]["step"] == 4
    with pytest.raises(ValueError, match="lacks"):
        again.load_state_dict({})


class Dealt(Sharded):
    """37 validation samples, dealt out to the processes, the last one twice."""

    def val_dataloader(self):
        if self.world == 1:
            return loader(37, batch=8)
        return DataLoader(Digits(37, self.keys), batch_size=8, sampler=DistributedSampler(range(37), shuffle=False))


@pytest.mark.parametrize("sample", [37, 20, 3])  # all; every second, which the first process has alone; a few
def test_snapshots_of_two_processes_are_those_of_one(tmp_path, sample):
    def build():
        return [EmbeddingSnapshots(sample=sample), ScoreHistograms()]

    held = []
    for world in (1, 2):
        module, folder = simclr(dropout=0), tmp_path / str(world)
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        fit(
            module,
            build(),
            4,
            data=Dealt(world, ("views",)),
            use_distributed_sampler=False,
            default_root_dir=folder,
            **many,
        )
        held.append(np.load(folder / "snapshots.npz"))
        # of several processes, the first one's anchors
        assert json.loads((folder / "scores.json").read_text())["bins"][0]["step"] == 0
    assert held[0]["embedding"].shape[1] == -(-37 // -(-37 // sample))
    assert held[0]["index"].tolist() == held[1]["index"].tolist() == list(range(0, 37, -(-37 // sample)))
    assert np.allclose(held[0]["embedding"], held[1]["embedding"], atol=2e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: ScoreHistograms(bins=1), "bins=1"), (lambda: EmbeddingSnapshots(sample=1), "sample=1"),
     (lambda: ScoreHistograms(keep=2), "keep=2")],
)  # fmt: skip
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()
