"""StageClusters: negatives of later stages share the anchor's clusters."""

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.callbacks import MemoryQueue, StageClusters
from lightning_contrast.contrast import Candidates
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.objectives import MCL, InfoNCE
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.modules.test_contrastive import Digits, loader, weights


def test_pseudo_labels_are_tuples_of_clusters():
    """Two stages by hand: 4 steps an epoch, one epoch a stage."""
    stages, module = StageClusters(clusters=3, stages=3, seed=5), simclr(dropout=0)
    seen = []

    class Watch(Losses):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            with torch.no_grad():
                x = torch.stack([Digits(128, ("views",))[i]["views"][0] for i in range(128)])
                seen.append(pl_module.embed(x).clone())

    record = Watch()
    fit(module, [record, stages], steps=12)
    assert stages.stage == 2
    one, two = (kmeans(seen[step], 3, seed=5)[1] for step in (4, 8))
    assert torch.equal(stages.label, one * 3 + two)
    assert record.contrasts[0].scores().exists.sum() == 64 * 63
    third = record.contrasts[8]
    label = stages.label[third.anchors.get("index")]
    same = label[:, None] == label
    assert torch.equal(third.scores().exists, same & ~torch.eye(64, dtype=torch.bool))
    x = torch.randn(4, 64)
    joined = stages.features(module.eval(), x)
    assert joined.shape == (4, 48)
    torch.testing.assert_close(joined.norm(dim=1), torch.full((4,), 3**0.5))
    torch.testing.assert_close(joined[:, 32:], torch.nn.functional.normalize(module.embed(x), dim=1))
    with torch.no_grad():
        data = torch.stack([Digits(128, ("views",))[i]["views"][0] for i in range(128)])
        early = stages.features(module, data)[:, 16:32]
    torch.testing.assert_close(early, torch.nn.functional.normalize(seen[8], dim=1))  # the encoder of the second stage


def test_the_rule_is_that_of_the_objective():
    """Pseudo-labels as payload (objectives.MCL) or by index: the same loss; who has none stays."""
    torch.manual_seed(0)
    z, cluster = torch.randn(2, 6, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 2, 2, 1])
    stages = StageClusters()
    stages.label = torch.cat([cluster, torch.tensor([-1])])
    plain = Contrast.from_views(z, index=torch.arange(6))
    found = InfoNCE(0.3)(stages.on_contrast(None, None, plain))
    torch.testing.assert_close(found, MCL(0.3)(Contrast.from_views(z, index=torch.arange(6), cluster=cluster)))
    queue = Candidates(torch.randn(3, 4).double(), {"index": torch.tensor([-1, 6, 99])}, "queue", "replicated")
    assert stages.on_contrast(None, None, plain.append(queue)).scores().exists[:, 12:].all()
    held_out = Contrast.from_views(z, index=torch.arange(6) + 50)
    torch.testing.assert_close(InfoNCE(0.3)(stages.on_contrast(None, None, held_out)), InfoNCE(0.3)(held_out))


def test_one_cluster_is_ordinary_training():
    one, two = simclr(), simclr()
    fit(one, [StageClusters(clusters=1, stages=3)], steps=9)
    fit(two, steps=9)
    torch.testing.assert_close(weights(one.encoder), weights(two.encoder), rtol=0, atol=1e-6)


def make():
    return [MemoryQueue(50), StageClusters(clusters=4, stages=3)]


@pytest.mark.parametrize("stop", [4, 5, 8, 11])
def test_resume(tmp_path, stop):
    before, after = assert_resumes_exactly(tmp_path, simclr, make, stop=stop, steps=14)
    assert before[1].stage == after[1].stage == 2


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, lambda: simclr(dropout=0), lambda: make()[1:], steps=10)
    assert torch.equal(one[0]["label"], two[0]["label"])


def test_logs_and_loads_without():
    t = fit(simclr(), [StageClusters(clusters=4, stages=2)], steps=6, log_every_n_steps=1, val=loader(32))
    assert t.callback_metrics["stages/stage"] == 1
    assert 1 < t.callback_metrics["stages/clusters"] <= 4
    assert 0.25 <= t.callback_metrics["stages/largest"] < 1
    assert "val/loss" in t.callback_metrics


def test_bad_values():
    with pytest.raises(ValueError, match="clusters=0"):
        StageClusters(clusters=0)
    with pytest.raises(ValueError, match="stages=0"):
        StageClusters(stages=0)
    with pytest.raises(ValueError, match="only 128 training samples"):
        fit(simclr(), [StageClusters(clusters=200)], steps=6)
    with pytest.raises(ValueError, match="another class's"):
        StageClusters().load_state_dict({"last": 3})
    state = StageClusters(clusters=4).state_dict()
    with pytest.raises(ValueError, match="keep both arguments"):
        StageClusters(clusters=5).load_state_dict(state)
