"""PrototypeMemory: prototypes that follow the keys."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import FalseNegativeFilter, MemoryQueue, PrototypeMemory
from lightning_contrast.callbacks.prototypes import Prototypes
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.objectives import SupCon
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.modules.test_contrastive import linear


def rows(n=20, d=3, seed=0):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


# The vectors ----------------------------------------------------------------------------------------------------------


def test_worked_moving_average():
    memory = Prototypes(3, momentum=0.5)
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    memory.move(z, torch.tensor([0, 0, 2]))
    assert memory.z.tolist() == [[0.5, 0.5], [0, 0], [0, 1]], "a first mean is taken as it is"
    assert memory.known.tolist() == [True, False, True]
    memory.move(torch.tensor([[1.0, 0.0], [9.0, 9.0]]), torch.tensor([0, -1]))
    assert memory.z.tolist() == [[0.75, 0.25], [0, 0], [0, 1]]


def test_online_k_means_is_the_mean_of_all_rows_ever():
    memory, z, place = Prototypes(4, momentum=None), rows(30), torch.arange(30) % 4
    for part, where in zip(z.split(7), place.split(7), strict=True):
        memory.move(part, where)
    torch.testing.assert_close(memory.z, torch.stack([z[place == k].mean(0) for k in range(4)]))
    assert memory.count.tolist() == [8, 8, 7, 7]


def test_the_first_rows_are_the_first_prototypes():
    memory, z = Prototypes(8, momentum=0.9), rows(20)
    for part in z.split(5):
        memory.move(part, memory.assign(part, "nearest"))
    assert memory.known.all()
    assert memory.assign(z[:3], "nearest").tolist() == (F.normalize(memory.z, dim=1) @ z[:3].T).argmax(0).tolist()


def test_sinkhorn_shares_rows_equally():
    """All rows near one prototype: nearest gives them to it, Sinkhorn does not."""
    memory = Prototypes(2, momentum=0.9, epsilon=0.02, iterations=200)
    memory.move(torch.eye(2), torch.arange(2))
    z = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [1.0, 0.4]]), dim=1)
    assert memory.nearest(z).tolist() == [0, 0, 0, 0]
    assert memory.balanced(z).tolist() == [0, 0, 1, 1]


# The callback ---------------------------------------------------------------------------------------------------------


def test_prototypes_of_classes():
    record, memory = Losses(), PrototypeMemory(10, assign="label", momentum=0.7, append=True)
    fit(moco(), [memory, record], steps=4)
    expected, seen = torch.zeros(10, 16), torch.zeros(10, dtype=torch.bool)
    for contrast in record.contrasts:
        block = contrast.candidates[-1]
        if seen.any():
            assert block.name == "prototype"
            assert block.payload["label"].tolist() == seen.nonzero()[:, 0].tolist()
            torch.testing.assert_close(block.z, F.normalize(expected[seen], dim=1))
        key, label = contrast.candidates[0].z[:, 0], contrast.anchors.payload["label"]
        for c in label.unique():
            mean = key[label == c].mean(0)
            expected[c] = 0.7 * expected[c] + 0.3 * mean if seen[c] else mean
            seen[c] = True
    torch.testing.assert_close(memory.z, expected)


def test_unlabelled_samples_belong_to_none():
    memory = PrototypeMemory(3, assign="label")
    memory.memory.move(rows(4), torch.tensor([-1, 0, -1, 2]))
    assert memory.memory.count.tolist() == [1, 0, 1]


def test_two_orders_are_one_step():
    record, memory = Losses(), PrototypeMemory(10, assign="label", momentum=0.0)
    fit(moco(both_orders=True), [memory, record], steps=1)
    z = torch.cat([c.candidates[0].z[:, 0] for c in record.contrasts])
    label = torch.cat([c.anchors.payload["label"] for c in record.contrasts])
    torch.testing.assert_close(memory.z[3], z[label == 3].mean(0))


def test_clusters_are_known_of_every_row():
    record, memory = Losses(), PrototypeMemory(6, momentum=0.5, append=True)
    fit(simclr(dropout=0), [memory, record], steps=3)
    assert (record.contrasts[0].anchors.payload["cluster"] == -1).all(), "none yet"
    for contrast in record.contrasts[1:]:
        anchors, block = contrast.anchors, contrast.candidates[-1]
        assert torch.equal(anchors.payload["cluster"], (anchors.z @ block.z.T).argmax(1))


def test_rules_read_the_clusters():
    record, memory = Losses(), PrototypeMemory(4, every_n_epochs=1)
    filtered = FalseNegativeFilter(max_score=2)
    fit(simclr(), [memory, _Within(), filtered, record], steps=5)
    contrast = record.contrasts[-1]
    cluster = contrast.anchors.payload["cluster"]
    assert torch.equal(contrast.scores().exists & (cluster[:, None] != cluster), torch.zeros(64, 64).bool())


class _Within(FalseNegativeFilter):
    def __init__(self):
        super().__init__(max_score=2, name="within")

    def on_contrast(self, trainer, pl_module, contrast):
        return contrast.exclude(lambda p: ~p.same("cluster"))


def test_re_clustering_is_k_means_of_the_data_set():
    found = []

    class Look(PrototypeMemory):
        def receive(self, trainer, pl_module, data):
            before = self.memory.z
            super().receive(trainer, pl_module, data)
            centroid, cluster = kmeans(data["key"], 5, 50, start=before)
            found.append(trainer.current_epoch)
            if before is not None:
                torch.testing.assert_close(self.memory.z, centroid)
                assert torch.equal(self.cluster[data["index"]], cluster)

    memory = Look(5, every_n_epochs=2, kmeans_iterations=50)
    t = fit(moco(), [memory, record := Losses()], steps=20, log_every_n_steps=1)
    assert found == [0, 2, 4]
    contrast = record.contrasts[-1]
    assert torch.equal(contrast.anchors.payload["cluster"], memory.cluster[contrast.anchors.payload["index"]])
    assert {"prototype/used", "prototype/fit", "prototype/churn"} <= set(t.callback_metrics)
    assert t.callback_metrics["prototype/churn"] < 0.9, "numbers of clusters keep their meaning"


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"assign": "sinkhorn", "append": True},
        {"assign": "label", "append": True},
        {"momentum": None},
        {"every_n_steps": 3},
    ],
    ids=str,
)
def test_resume(tmp_path, kwargs):
    build = (lambda: simclr(SupCon(0.2))) if kwargs.get("append") and "label" in kwargs.values() else simclr
    assert_resumes_exactly(tmp_path, build, lambda: [PrototypeMemory(10, **kwargs), MemoryQueue(60)])


@pytest.mark.parametrize("kwargs", [{}, {"assign": "sinkhorn"}, {"momentum": None}, {"every_n_steps": 2}], ids=str)
@pytest.mark.parametrize("build", [moco, lambda: simclr(dropout=0)], ids=["moco", "simclr"])
def test_two_processes(tmp_path, build, kwargs):
    def callbacks():
        return (
            [PrototypeMemory(8, **kwargs), _Within()] if kwargs.get("every_n_steps") else [PrototypeMemory(8, **kwargs)]
        )

    one, two = assert_two_processes_train_as_one(tmp_path, build, callbacks)
    torch.testing.assert_close(one[0]["z"], two[0]["z"], rtol=0, atol=1e-5)
    assert torch.equal(one[0]["count"], two[0]["count"])


def test_resumes_at_another_number_of_processes(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [memory := PrototypeMemory(8, every_n_steps=2), SaveAt(4, path)], steps=4)
    saved = torch.load(path, weights_only=True)["callbacks"][memory.state_key]

    class Held(PrototypeMemory):
        def on_train_start(self, *args):
            super().on_train_start(*args)
            assert torch.equal(self.memory.z, saved["z"])
            assert torch.equal(self.cluster, saved["cluster"])

    held = type("PrototypeMemory", (Held,), {})(8, every_n_steps=2)
    fit(moco(), [held], 6, ckpt=path, strategy="ddp_fork", devices=2)


# Misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"prototypes": 0}, "prototypes=0"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"assign": "random"}, "assign='random'"),
        ({"epsilon": 0}, "epsilon=0"),
        ({"iterations": 0}, "iterations=0"),
        ({"kmeans_iterations": 0}, "kmeans_iterations=0"),
        ({"every_n_epochs": 0}, "every_n_epochs=0"),
        ({"assign": "label", "every_n_epochs": 1}, "has its classes"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        PrototypeMemory(**kwargs)


def test_misuse():
    with pytest.raises(ValueError, match="label 9 has no prototype"):
        fit(moco(), [PrototypeMemory(5, assign="label")])
    with pytest.raises(ValueError, match="128 training samples cannot make 500"):
        fit(moco(), [PrototypeMemory(500, every_n_epochs=1)])
    with pytest.raises(ValueError, match="both called 'queue'"):
        fit(moco(), [PrototypeMemory(5, name="queue"), MemoryQueue()])


def test_foreign_states_are_refused_and_nothing_is_lost():
    memory = PrototypeMemory(4)
    memory.memory.move(rows(8), torch.arange(8) % 4)
    state, before = memory.state_dict(), memory.z.clone()
    for bad, message in [
        ({"columns": {}}, "truncated or another class's"),
        ({**state, "count": torch.ones(5)}, "holds 5 prototypes, now there are 4"),
        ({**state, "z": state["z"][:2]}, "now there are 4"),
        ({**state, "z": None}, "truncated"),
    ]:
        with pytest.raises(ValueError, match=message):
            memory.load_state_dict(bad)
        assert torch.equal(memory.z, before)
    again = PrototypeMemory(4)
    again.load_state_dict(state)
    module = moco()
    module.encoder = linear(out=8)
    module.key_encoder.follow(module._online())
    with pytest.raises(ValueError, match="holds prototypes of width 3, the embeddings have 8"):
        fit(module, [again])
