"""Teachers: one role, read in one way, kept with the module."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import FalseNegativeFilter, HardNegativeRefresh, MemoryQueue, TeacherEmbedding
from lightning_contrast.callbacks.background import snapshot
from lightning_contrast.encoders import Frozen, Momentum, Precomputed, Snapshot
from lightning_contrast.heads import MLPHead
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.modules.test_contrastive import PICTURES, linear, loader


def written(tmp_path, rows=128, width=6):
    vectors = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    order = np.random.default_rng(1).permutation(rows)
    np.savez(tmp_path / "v.npz", embedding=vectors[order], index=order)
    return str(tmp_path / "v.npz"), torch.from_numpy(vectors)


class Look(pl.Callback):
    """The teacher's embedding of eight pictures after every step."""

    def __init__(self):
        self.seen, self.online = [], []

    def on_train_batch_end(self, trainer, pl_module, *args):
        x = PICTURES[:8]
        self.seen.append(pl_module.teacher.embed(x).clone() if pl_module.teacher.ready else None)
        self.online.append(pl_module._online()(x).detach().clone())


# The four -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.7, 1.0])
def test_momentum_in_closed_form(momentum):
    """theta_k = m^t theta_0 + (1 - m^t) theta_q while theta_q stays."""
    online, teacher = linear(), Momentum(momentum)
    teacher.follow(online)
    start = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for p in online.parameters():
            p.add_(1.0)
    for step in range(5):
        teacher.after_step(online, step, 5)
    for p, a, b in zip(teacher.parameters(), start, online.parameters(), strict=True):
        torch.testing.assert_close(p, momentum**5 * a + (1 - momentum**5) * b)


def test_momentum_of_zero_is_the_encoder_after_every_step():
    module = moco(key_encoder=Momentum(0.0))
    fit(module, [look := Look()], steps=3)
    for a, b in zip(look.seen, look.online, strict=True):
        torch.testing.assert_close(a, b)


def test_frozen_stays_and_is_in_evaluation_mode():
    module = simclr(head=nn.Sequential(nn.Linear(16, 8), nn.Dropout(0.5)))
    start = [p.detach().clone() for p in module._online().parameters()]
    fit(module, [TeacherEmbedding(Frozen()), look := Look()], steps=3)
    assert not any(m.training for m in module.teacher.modules())
    assert all(not p.requires_grad for p in module.teacher.parameters())
    for a, b in zip(module.teacher.parameters(), start, strict=True):
        assert torch.equal(a, b)
    assert torch.equal(look.seen[0], look.seen[-1])
    assert not torch.equal(look.online[0], look.online[-1])


def test_frozen_of_another_network():
    other = linear(5)
    module = simclr()
    fit(module, [TeacherEmbedding(Frozen(other)), record := Losses()], steps=1)
    assert module.teacher.copied is other
    vectors = record.contrasts[0].anchors.payload["teacher"]
    torch.testing.assert_close(vectors[:32], other(torch.stack([loader().dataset[i]["views"][0] for i in range(32)])))
    assert torch.equal(vectors[:32], vectors[32:]), "both views of a sample have its vector"


def test_snapshot_at_the_end_of_each_fit():
    module = moco(key_encoder=None, in_batch=True)
    callback = TeacherEmbedding(Snapshot())
    fit(module, [callback, record := Losses()], steps=3)
    assert "teacher" not in record.contrasts[0].anchors.payload, "no teacher in the first task"
    end = [p.detach().clone() for p in module._online().parameters()]
    fit(module, [callback, record := Losses(), look := Look()], steps=3)
    assert record.contrasts[0].anchors.payload["teacher"].shape == (64, 16)
    assert torch.equal(look.seen[0], look.seen[-1])
    assert module.teacher.taken == 2
    fit(module, [callback, look := Look()], steps=1)
    assert not torch.equal(look.seen[0], end[0])


def test_snapshot_every_two_epochs():
    module = simclr()
    fit(module, [TeacherEmbedding(Snapshot(every_n_epochs=2)), look := Look()], steps=20)  # 4 steps an epoch
    assert [s is None for s in look.seen] == [True] * 8 + [False] * 12
    assert torch.equal(look.seen[8], look.seen[15])
    assert not torch.equal(look.seen[15], look.seen[16])


@pytest.mark.parametrize("kind", [".npz", ".npy"])
def test_precomputed_by_index(tmp_path, kind):
    path, vectors = written(tmp_path)
    if kind == ".npy":
        path = str(tmp_path / "v.npy")
        np.save(path, vectors.numpy())
    module = simclr()
    fit(module, [TeacherEmbedding(Precomputed(path)), record := Losses()], steps=3, shuffle=True)
    for contrast in record.contrasts:
        torch.testing.assert_close(
            contrast.anchors.payload["teacher"], vectors[contrast.anchors.payload["index"]], rtol=0, atol=0
        )


# Read in one way ------------------------------------------------------------------------------------------------------


def test_the_key_encoder_is_a_teacher_too():
    module = moco(both_orders=True)
    fit(module, [TeacherEmbedding(), record := Losses()], steps=2)
    assert module.teacher is module.key_encoder
    for contrast in record.contrasts:
        assert contrast.anchors.payload["teacher"].shape == (32, 16)
        assert contrast.candidates[0].payload["teacher"].shape == (32, 1, 16)


@pytest.mark.parametrize("teacher", [Frozen, lambda: Momentum(0.5), Snapshot])
def test_any_teacher_makes_keys(teacher):
    module = moco(key_encoder=teacher())
    if isinstance(module.key_encoder, Snapshot):
        module.key_encoder.take(module._online())
    fit(module, [MemoryQueue(64)], steps=3)


def test_each_side_of_a_pair_has_its_own():
    other = linear(5)
    module = ContrastiveModule(linear(), InfoNCE(0.1, symmetric=True), key_encoder=linear(1))
    data = loader(keys=("anchor", "positive"))
    fit(module, [TeacherEmbedding(Frozen(other)), record := Losses()], steps=1, data=data)
    forth, back = record.contrasts
    batch = next(iter(data))
    torch.testing.assert_close(forth.anchors.payload["teacher"], other(batch["anchor"]))
    torch.testing.assert_close(forth.candidates[0].payload["teacher"], other(batch["positive"]))
    torch.testing.assert_close(back.anchors.payload["teacher"], other(batch["positive"]))


def test_rules_and_targets_read_it(tmp_path):
    path, vectors = written(tmp_path)
    unit = nn.functional.normalize(vectors, dim=1)

    class Distil(pl.Callback):
        def on_contrast(self, trainer, pl_module, contrast):
            return contrast.exclude(lambda p: (p.dot("teacher") > 1) & (p.target <= 0))

    queue = MemoryQueue(200, payload=["index", "teacher"])
    fit(simclr(), [TeacherEmbedding(Precomputed(path)), queue, Distil(), record := Losses()], steps=3)
    contrast = record.contrasts[-1]
    assert [b.name for b in contrast.candidates] == ["view", "queue"]
    a = contrast.anchors.payload
    index = torch.cat([b.payload["index"] for b in contrast.candidates])
    like = vectors[a["index"]] @ vectors[index].T > 1
    negative = contrast.scores().target <= 0
    same = a["index"][:, None] == index
    assert torch.equal(contrast.scores().exists[negative], ~(like | same)[negative])
    assert unit.shape == (128, 6)


def test_widths_found_later_reach_the_teacher():
    module = simclr(head=MLPHead([8], output_dim=4))
    fit(module, [TeacherEmbedding(Momentum(0.5)), record := Losses()], steps=2)
    assert record.contrasts[0].anchors.payload["teacher"].shape == (64, 4)


# State and processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "teacher",
    [Frozen, lambda: Momentum(0.8, final=1.0), lambda: Snapshot(every_n_epochs=1)],
    ids=["frozen", "momentum", "snapshot"],
)
def test_resume(tmp_path, teacher):
    def callbacks():
        return [TeacherEmbedding(teacher()), _Filter()]

    assert_resumes_exactly(tmp_path, simclr, callbacks)


class _Filter(FalseNegativeFilter):
    """What the teacher finds alike is no negative."""

    def __init__(self):
        super().__init__(max_score=2.0)

    def on_contrast(self, trainer, pl_module, contrast):
        if "teacher" not in contrast.anchors.payload:
            return contrast
        return contrast.exclude(lambda p: (p.dot("teacher") > 0.5) & (p.target <= 0))


def test_two_processes(tmp_path):
    teachers = []

    def build():  # a forked fit brings home only what the module had before it
        module, teacher = simclr(dropout=0), Momentum(0.8)
        teacher.follow(module._online())
        module.extras["teacher"] = teacher
        teachers.append(teacher)
        return module

    assert_two_processes_train_as_one(tmp_path, build, lambda: [TeacherEmbedding(teachers[-1]), _Filter()])


def test_the_checkpoint_loads_without_the_callback(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(simclr(), [TeacherEmbedding(Momentum(0.5)), SaveAt(2, path)], steps=2)
    assert any(key.startswith("extras.teacher.") for key in torch.load(path, weights_only=True)["state_dict"])
    ContrastiveModule.load_from_checkpoint(path, encoder=simclr().encoder, weights_only=True)


# Misuse ---------------------------------------------------------------------------------------------------------------


def test_told_at_set_up():
    with pytest.raises(ValueError, match="has no teacher"):
        fit(simclr(), [TeacherEmbedding()])
    with pytest.raises(ValueError, match="both called 'teacher'"):
        fit(simclr(), [TeacherEmbedding(Frozen()), MemoryQueue(name="teacher")])
    with pytest.raises(ValueError, match="every_n_epochs=0"):
        Snapshot(every_n_epochs=0)
    with pytest.raises(RuntimeError, match="nothing to follow"):
        Momentum()(torch.zeros(1))
    with pytest.raises(RuntimeError, match="no task has ended"):
        Snapshot()(torch.zeros(1))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        Precomputed(str(tmp_path / "absent.npz"))
    path, _ = written(tmp_path, rows=100)
    with pytest.raises(ValueError, match=r"no vector for index \d+"):
        fit(simclr(), [TeacherEmbedding(Precomputed(path))], steps=4)
    whole = (tmp_path / "v.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        Precomputed(str(tmp_path / "cut.npz"))
    np.savez(tmp_path / "foreign.npz", colour=np.zeros(3))
    with pytest.raises(ValueError, match=r"is no table: give a \.npz with 'embedding'"):
        Precomputed(str(tmp_path / "foreign.npz"))
    with pytest.raises(RuntimeError, match="cannot be a key_encoder"):
        fit(moco(key_encoder=Precomputed(path)))


# Re-embedding -----------------------------------------------------------------------------------------------------------


class Refresh(HardNegativeRefresh):
    """Shows what was embedded, and what the teacher says of the same samples now."""

    def receive(self, trainer, pl_module, data):
        super().receive(trainer, pl_module, data)
        x = torch.stack([loader().dataset[i]["views"][0] for i in data["index"].tolist()])
        with torch.no_grad():
            taught = pl_module.teacher.embed(x, data["index"])
            keys = pl_module.project_keys(x)
        self.seen = {
            **data,
            "taught": nn.functional.normalize(taught, dim=1),
            "keys": nn.functional.normalize(keys, dim=1),
        }


KINDS = {
    "momentum": lambda path: Momentum(0.5),
    "frozen": lambda path: Frozen(),
    "snapshot": lambda path: Snapshot(every_n_epochs=1),
    "precomputed": lambda path: Precomputed(path),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_teacher_searches_and_rescores(tmp_path, kind):
    path, _ = written(tmp_path)
    for by in ({"weights": "teacher"}, {"rescore": True, "max_score": 0.9}):
        refresh, teacher = Refresh(2, start=1, **by), KINDS[kind](path)
        fit(simclr(dropout=0), [refresh, TeacherEmbedding(teacher)], steps=5)  # whoever comes first
        seen = refresh.seen
        torch.testing.assert_close(seen["z" if "weights" in by else "teacher"], seen["taught"])
        torch.testing.assert_close(refresh._z, seen["keys"])  # compared with where the objective compares
        score = (seen["taught"] @ seen["taught"].T).gather(1, seen["mined"].clamp(min=0))
        torch.testing.assert_close(score[seen["mined"] >= 0], seen["score"][seen["mined"] >= 0])


def test_in_the_background_the_teacher_is_that_of_then():
    class Look(Refresh):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 2:
                x = torch.stack([loader().dataset[i]["views"][0] for i in range(128)])
                self.then = nn.functional.normalize(pl_module.teacher.embed(x), dim=1)
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    refresh = Look(2, every_n_steps=5, start=2, weights="teacher", asynchronous=True, take_up_after=2)
    fit(simclr(dropout=0), [TeacherEmbedding(Momentum(0.5)), refresh], steps=6)
    torch.testing.assert_close(refresh.seen["z"], refresh.then)
    assert not torch.equal(refresh.seen["z"], refresh.seen["taught"]), "the teacher has gone on"


def test_a_copy_of_the_module_shares_the_table(tmp_path):
    path, _ = written(tmp_path)
    module = simclr()
    module.extras["teacher"] = Precomputed(path)
    assert snapshot(module).teacher is module.teacher


def test_no_refresh_while_there_is_nothing_to_teach():
    refresh = HardNegativeRefresh(2, weights="teacher")
    fit(simclr(), [TeacherEmbedding(Snapshot()), refresh], steps=3)
    assert refresh.table is None


def test_one_index_twice_or_two_counts_are_told(tmp_path):
    rows = np.ones((3, 2), dtype=np.float32)
    for index, message in (([0, 1, 1], "differ from sample"), ([0, 1], "one integer a row"), ([-1, 0, 1], ">= 0")):
        np.savez(tmp_path / "v.npz", embedding=rows, index=np.array(index))
        with pytest.raises(ValueError, match=rf"Precomputed.*{message}"):
            Precomputed(str(tmp_path / "v.npz"))
    np.save(tmp_path / "v.npy", rows)
    with (tmp_path / "v.npy").open("r+b") as file:
        file.truncate(140)
    with pytest.raises(ValueError, match="truncated"):
        Precomputed(str(tmp_path / "v.npy"))
    torch.save({"embedding": torch.eye(3), "index": torch.tensor([2, 0, 1])}, tmp_path / "v.pt")
    held = Precomputed(str(tmp_path / "v.pt"))
    assert torch.equal(held.embed(None, torch.tensor([0, 2])), torch.eye(3)[[1, 0]])
    with pytest.raises(ValueError, match="no vector for index 3"):
        held.embed(None, torch.tensor([1, 3]))
