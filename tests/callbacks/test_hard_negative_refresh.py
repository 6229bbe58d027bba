"""Reembed and HardNegativeRefresh: by hand, over resume and processes."""

from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_contrast import ContrastiveModule, Dot
from lightning_contrast.callbacks import HardNegativeRefresh, MemoryQueue, Reembed
from lightning_contrast.callbacks.temperature_schedule import planned_steps
from lightning_contrast.mining import Items, Rules, mine, read_mined
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_equal_state,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    copied,
    fit,
    moco,
    simclr,
)
from tests.callbacks.test_online_evaluation import Split
from tests.modules.test_contrastive import LABELS, PICTURES, Digits, linear, loader


class Data(pl.LightningDataModule):
    """64 a batch of 256; the bank in another order than the index."""

    def train_dataloader(self):
        return DataLoader(Split(0, 256), batch_size=64, shuffle=True)

    def bank_dataloader(self):
        backwards = torch.utils.data.Subset(Split(0, 256, keys=("input",)), list(range(255, -1, -1)))
        return DataLoader(backwards, batch_size=100)


class TestReembed:
    def test_complete_and_with_the_weights_of_now(self):
        seen = []

        def then(trainer, module, data):
            assert module.training, "modes are back"
            module.eval()
            with torch.no_grad():
                expected = module.embed(PICTURES[data["index"]])
            module.train()
            torch.testing.assert_close(data["z"], expected)
            assert torch.equal(data["index"], torch.arange(255, -1, -1))
            assert torch.equal(data["label"], LABELS[data["index"]])
            seen.append(trainer.global_step)

        fit(simclr(), [Reembed(then)], steps=9, data=Data())
        assert seen == [0, 4, 8]
        fit(simclr(), [Reembed(then, every_n_steps=3, start=2)], steps=9, data=Data())
        assert seen[3:] == [2, 5, 8]

    def test_once_a_step_under_accumulation(self):
        seen = []
        then = lambda trainer, *_: seen.append(trainer.global_step)  # noqa: E731
        fit(simclr(), [Reembed(then, every_n_steps=2)], steps=4, data=Data(), accumulate_grad_batches=2)
        assert seen == [0, 2]

    def test_training_is_left_alone(self):
        module, plain = simclr(), simclr()
        module.encoder[1].eval()  # a frozen part stays in evaluation mode
        plain.encoder[1].eval()
        fit(module, [Reembed(lambda *_: None, every_n_steps=1)], steps=6, data=Data())
        fit(plain, [], steps=6, data=Data())
        for a, b in zip(module.parameters(), plain.parameters(), strict=True):
            assert torch.equal(a, b)
        assert not module.encoder[1].training

    def test_resumes_without_doing_it_twice(self, tmp_path):
        seen = []
        then = lambda trainer, *_: seen.append(trainer.global_step)  # noqa: E731
        fit(simclr(), [Reembed(then), SaveAt(6, tmp_path / "a.ckpt")], steps=6, data=Data())
        fit(simclr(), [Reembed(then)], steps=12, data=Data(), ckpt=tmp_path / "a.ckpt")
        assert seen == [0, 4, 8]

    def test_misuse(self):
        with pytest.raises(ValueError, match="every_n_steps=0"):
            Reembed(every_n_steps=0)
        with pytest.raises(ValueError, match="space='pixels'"):
            Reembed(space="pixels")

        class NoIndex(Split):
            def __getitem__(self, i):
                return {k: v for k, v in super().__getitem__(i).items() if k != "index"}

        class Bad(Data):
            def bank_dataloader(self):
                return DataLoader(NoIndex(0, 64), batch_size=32)

        with pytest.raises(ValueError, match="needs the 'index' of every sample"):
            fit(simclr(), [Reembed()], data=Bad())


def space(n=40, d=6):
    torch.manual_seed(0)
    z = F.normalize(torch.randn(n, d), dim=1)
    key = F.normalize(z + 0.3 * torch.randn(n, d), dim=1)
    return {"z": z, "key": key, "index": torch.randperm(n), "label": torch.arange(n) % 3}


def prepared(refresh, data, step=0):
    refresh.step = step
    return refresh.prepare(data, torch.arange(len(data["index"])), lambda: None)


def test_it_mines_keys_for_anchors_by_its_rules():
    data = space()
    refresh = HardNegativeRefresh(3, range_min=1, range_max=12, same_label=True, relative_margin=0.2)
    positive = (data["z"] * data["key"]).sum(1)
    query, corpus = (Items(data[name], data["index"], data["label"]) for name in ("z", "key"))
    expected = mine(query, corpus, positive, Rules(3, 1, 12, same_label=True, relative_margin=0.2))
    found = prepared(refresh, data)
    assert torch.equal(found["mined"], expected.rows)
    assert torch.equal(found["removed"], expected.removed)
    some = refresh.prepare(data, torch.arange(10, 25), lambda: None)
    assert torch.equal(some["mined"], found["mined"][10:25])


def test_the_rules_may_read_the_teacher():
    data = space()
    plain = prepared(HardNegativeRefresh(3, max_score=0.3), data)["mined"]
    data["teacher"] = data["z"].flip(0)
    found = prepared(HardNegativeRefresh(3, max_score=0.3, rescore=True), data)["mined"]
    assert not torch.equal(found, plain)
    teacher = (data["teacher"] @ data["key"].T).gather(1, found.clamp(min=0))
    assert (teacher[found >= 0] <= 0.3).all()


def test_rescored_by_the_momentum_encoder_and_by_vectors_of_another_model(tmp_path):
    looked = {}

    class Look(HardNegativeRefresh):
        def receive(self, trainer, pl_module, data):
            looked.update(data)
            super().receive(trainer, pl_module, data)

    fit(moco(), [Look(2, rescore=True, max_score=0.9)], steps=1, data=Data())
    torch.testing.assert_close(looked["teacher"], looked["key"])
    vectors = torch.randn(256, 5, generator=torch.Generator().manual_seed(0))
    np.savez(tmp_path / "a.npz", embedding=vectors.numpy(), index=np.arange(256))
    fit(simclr(), [Look(2, teacher=str(tmp_path / "a.npz"), max_score=0.5)], steps=1, data=Data())
    s = F.normalize(vectors, dim=1)[looked["index"]]
    s = (s @ s.T).gather(1, looked["mined"].clamp(min=0))[looked["mined"] >= 0]
    torch.testing.assert_close(s, looked["score"][looked["mined"] >= 0])
    assert (s <= 0.5).all()
    np.savez(tmp_path / "b.npz", embedding=vectors.numpy()[:3], index=np.arange(3))
    with pytest.raises(ValueError, match="has no vector for index"):
        fit(simclr(), [Look(2, teacher=str(tmp_path / "b.npz"))], steps=1, data=Data())


def test_random_draws_differ_by_step_and_seed():
    data = space()
    draw = lambda seed, step: prepared(HardNegativeRefresh(3, 2, 12, sampling_strategy="random", seed=seed), data, step)  # noqa: E731
    assert torch.equal(draw(0, 5)["mined"], draw(0, 5)["mined"])
    assert not torch.equal(draw(0, 5)["mined"], draw(0, 6)["mined"])
    assert not torch.equal(draw(0, 5)["mined"], draw(1, 5)["mined"])


def test_the_temperature_of_draws_falls_from_refresh_to_refresh():
    """cornstack: from exploring to the hardest."""
    seen = []

    class Look(HardNegativeRefresh):
        def receive(self, trainer, pl_module, data):
            super().receive(trainer, pl_module, data)
            seen.append((self.step, self._figures["sampling_temperature"]))

    scheduled = {"sampling_strategy": "softmax", "sampling_temperature": 0.05, "final_sampling_temperature": 0.01}
    fit(simclr(), [Look(2, every_n_steps=2, **scheduled)], steps=8, data=Data())
    assert [step for step, _ in seen] == [0, 2, 4, 6]
    assert [value for _, value in seen] == pytest.approx([0.05, 0.04, 0.03, 0.02])
    data, refresh = space(), HardNegativeRefresh(3, range_max=12, **{**scheduled, "final_sampling_temperature": 1e-9})
    refresh._planned = 10
    hardest = prepared(HardNegativeRefresh(3, range_max=12), data)["mined"]
    assert not torch.equal(prepared(refresh, data, 0)["mined"], hardest)
    assert torch.equal(prepared(refresh, data, 10)["mined"], hardest)
    with pytest.raises(ValueError, match="cannot tell which step is the last"):
        planned_steps(SimpleNamespace(estimated_stepping_batches=float("inf")), "HardNegativeRefresh")


def mined(contrast):
    return next((b for b in contrast.candidates if b.name == "mined"), None)


class Check(Losses):
    """In the step: what is appended are the embeddings of the refresh, of the anchors' own mined samples."""

    def on_contrast_end(self, trainer, pl_module, contrast, loss):
        super().on_contrast_end(trainer, pl_module, contrast, loss)
        refresh = next(c for c in trainer.callbacks if isinstance(c, HardNegativeRefresh))
        block, own = mined(contrast), contrast.anchors.payload["index"]
        place = {int(i): row for row, i in enumerate(refresh.index)}
        for i, index in zip(own.tolist(), block.payload["index"], strict=True):
            assert index.tolist() == refresh.index[refresh.table[place[i]]].tolist()
        self.block, self.step = copied(contrast), trainer.global_step


def test_each_anchor_meets_its_own():
    check = Check()
    refresh = HardNegativeRefresh(3, every_n_steps=2)
    t = fit(simclr(), [refresh, check], steps=5, data=Data(), log_every_n_steps=1)
    block = mined(check.block)
    assert block.z.shape == (128, 3, 16)
    place = {int(i): row for row, i in enumerate(refresh.index)}
    rows = torch.tensor([[place[int(i)] for i in line] for line in block.payload["index"]])
    torch.testing.assert_close(block.z, refresh._z[rows])
    names = ("churn", "age", "seconds", "missing", "empty", "embedding_share", "same_label")
    values = {name: t.callback_metrics[f"refresh/{name}"].item() for name in names}
    assert 0 < values["churn"] < 1
    assert values["age"] == 1
    assert values["missing"] == values["empty"] == 0
    assert 0 < values["embedding_share"] < 1
    own = LABELS[refresh.index]
    assert values["same_label"] == pytest.approx((own[refresh.table] == own[:, None]).float().mean().item())


def test_with_gradient_the_mined_samples_are_encoded_in_the_step():
    check = Check()
    module = simclr(dropout=0)
    with_gradient = []

    class Look(pl.Callback):
        def on_contrast(self, trainer, pl_module, contrast):
            with_gradient.append(mined(contrast).z.requires_grad)
            return contrast

    fit(module, [HardNegativeRefresh(2, gradient=True), Look(), check], steps=1, data=Data())
    assert with_gradient == [True]
    block = mined(check.block)
    before = simclr(dropout=0)
    with torch.no_grad():
        z = F.normalize(before.embed(PICTURES[block.payload["index"].flatten()]), dim=1)
    torch.testing.assert_close(block.z.flatten(0, 1), z)


def test_mined_samples_are_no_positives_by_label():
    check = Check()
    fit(simclr(SupCon(0.2)), [HardNegativeRefresh(3, same_label=True), check], steps=2, data=Data())
    scores = check.block.replace(exchange="none").scores()
    assert (scores.target[:, 128:] == 0).all()
    assert scores.exists[:, 128:].all()


def test_where_nothing_is_left_nothing_is_appended():
    class Empty(Losses):
        def on_contrast_end(self, trainer, pl_module, contrast, loss):
            assert not contrast.scores().exists[:, 128:].any()
            super().on_contrast_end(trainer, pl_module, contrast, loss)

    record, plain = Empty(), Losses()
    t = fit(simclr(dropout=0), [HardNegativeRefresh(3, max_score=-2.0), record], 3, data=Data(), log_every_n_steps=1)
    fit(simclr(dropout=0), [plain], 3, data=Data())
    assert record.losses == pytest.approx(plain.losses)
    assert t.callback_metrics["refresh/missing"] == 1
    assert t.callback_metrics["refresh/empty"] == 1
    assert t.callback_metrics["refresh/removed/max_score"] == 30


def test_pairs_are_searched_among_the_second_inputs():
    module = ContrastiveModule(linear(), InfoNCE(0.2), key_encoder=linear(1))
    refresh = HardNegativeRefresh(2)
    data = loader(keys=("anchor", "positive"))
    fit(module, [refresh], steps=1, data=data)
    views = [
        torch.stack([Digits(128, ("anchor", "positive"))[i][k] for i in range(128)]) for k in ("anchor", "positive")
    ]
    with torch.no_grad():
        s = F.normalize(linear()(views[0]), dim=1) @ F.normalize(linear(1)(views[1]), dim=1).T
    s.fill_diagonal_(-2)
    assert torch.equal(refresh.table, s.topk(2, dim=1).indices)


def test_the_file_is_whole(tmp_path):
    refresh = HardNegativeRefresh(2, path=str(tmp_path / "sub" / "mined.npz"))
    fit(simclr(), [refresh], steps=1, data=Data())
    held = read_mined(tmp_path / "sub" / "mined.npz")
    assert held.negative.shape == held.negative_score.shape == (256, 2)
    assert np.array_equal(held.negative, refresh.index[refresh.table].numpy())
    assert np.array_equal(held.query, refresh.index.numpy())
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["mined.npz"]


# State and processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", [{}, {"gradient": True}, {"sampling_strategy": "random"}], ids=str)
@pytest.mark.parametrize("stop", [5, 6])  # between refreshes, and just before one
def test_resume(tmp_path, kwargs, stop):
    callbacks = lambda: [MemoryQueue(50), HardNegativeRefresh(2, every_n_steps=3, **kwargs)]  # noqa: E731
    assert_resumes_exactly(tmp_path, simclr, callbacks, stop=stop)


def test_resume_by_epochs(tmp_path):
    assert_resumes_exactly(tmp_path, moco, lambda: [HardNegativeRefresh(2)], stop=6)


@pytest.mark.parametrize("gradient", [False, True])
def test_two_processes(tmp_path, gradient):
    make = lambda: [HardNegativeRefresh(2, every_n_steps=2, gradient=gradient)]  # noqa: E731
    one, two = assert_two_processes_train_as_one(tmp_path, lambda: simclr(dropout=0), make, steps=5)
    assert torch.equal(one[0]["table"], two[0]["table"])


def test_state_loads_with_weights_only(tmp_path):
    path = tmp_path / "a.ckpt"
    refresh = HardNegativeRefresh(2)
    fit(simclr(), [refresh, SaveAt(3, path)], steps=3)
    state = torch.load(path, weights_only=True)["callbacks"]["HardNegativeRefresh"]
    again = HardNegativeRefresh(2)
    again.load_state_dict(state)
    assert_equal_state(again.state_dict(), refresh.state_dict())


# Misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_negatives": 0}, "num_negatives=0"),
        ({"range_max": 2}, "range_max=2"),
        ({"relative_margin": 1.5}, "relative_margin=1.5"),
        ({"absolute_margin": -1}, "absolute_margin=-1"),
        ({"sampling_strategy": "best"}, "sampling_strategy='best'"),
        ({"final_sampling_temperature": 0.01}, "final_sampling_temperature=0.01: read by sampling_strategy='softmax'"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        HardNegativeRefresh(**kwargs)


def test_misuse():
    with pytest.raises(ValueError, match="compares by Dot"):
        fit(simclr(InfoNCE(similarity=Dot())), [HardNegativeRefresh()])
    towers = ContrastiveModule(linear(), InfoNCE(symmetric=True), key_encoder=linear(1))
    with pytest.raises(ValueError, match="use symmetric=False"):
        fit(towers, [HardNegativeRefresh()], data=loader(keys=("anchor", "positive")))
    with pytest.raises(ValueError, match="only 32 samples"):
        fit(simclr(), [HardNegativeRefresh(40)], n=32)
    refresh = HardNegativeRefresh(2)
    fit(simclr(), [refresh], steps=1, n=64)
    with pytest.raises(ValueError, match="the data set changed"):
        fit(simclr(), [refresh], steps=7, n=96)
    with pytest.raises(ValueError, match="a table of 2 a sample"):
        HardNegativeRefresh(3).load_state_dict(refresh.state_dict())
    with pytest.raises(ValueError, match=r"lacks \['z'\]"):
        HardNegativeRefresh(2).load_state_dict({k: v for k, v in refresh.state_dict().items() if k != "z"})
    with pytest.raises(ValueError, match="made without it"):
        HardNegativeRefresh(2, gradient=True).load_state_dict(refresh.state_dict())
