"""MemoryBank: a slot a sample."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import MemoryBank, MemoryQueue
from lightning_contrast.contrast import Candidates
from lightning_contrast.data import DigitsDataModule
from lightning_contrast.encoders import MLPEncoder
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.ranks import run_ranks


def write(bank, z, index, step=0):
    bank._write(Candidates(z, {"index": torch.as_tensor(index)}), step)


def test_worked_update():
    bank = MemoryBank(size=3, momentum=0.5)
    write(bank, torch.tensor([[1.0, 0.0]]), [1])
    assert bank.z.tolist() == [[0, 0], [1, 0], [0, 0]]
    write(bank, torch.tensor([[0.0, 1.0], [0.6, 0.8]]), [1, 2], step=7)
    half = 0.5**0.5
    torch.testing.assert_close(bank.z, torch.tensor([[0, 0], [half, half], [0.6, 0.8]]))
    assert bank.step.tolist() == [-1, 7, 7]
    assert bank.known.tolist() == [False, True, True]


def test_several_keys_of_a_sample_count_as_their_mean():
    bank = MemoryBank(size=2, momentum=0)
    write(bank, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), [0, 0])
    torch.testing.assert_close(bank.z[0], torch.tensor([1.0, 1.0]) / 2**0.5)


def test_neighbours():
    bank = MemoryBank(size=50)
    z = F.normalize(torch.randn(30, 8), dim=1)
    write(bank, z, torch.arange(10, 40))
    score, index = bank.neighbours(z[:5], 3)
    expected = (z[:5] @ z.T).topk(3, dim=1)
    torch.testing.assert_close(score, expected.values)
    assert torch.equal(index, expected.indices + 10)


def test_slots_are_negatives_but_not_the_anchors_own():
    record = Losses()
    fit(moco(), [MemoryBank(negatives=1000), record], steps=6)
    contrast = record.contrasts[-1]
    block = contrast.candidates[-1]
    assert block.name == "bank"
    assert block.rows == 128, "all samples were seen in the first epoch"
    own = contrast.anchors.payload["index"][:, None] == block.payload["index"]
    exists = contrast.scores().exists[:, 1:]
    assert torch.equal(exists, ~own)
    fit(moco(), [MemoryBank(negatives=40), record], steps=6)
    assert record.contrasts[-1].candidates[-1].rows == 40


def test_a_scored_bank_does_not_know_the_step():
    record, bank = Losses(), MemoryBank(negatives=1000, momentum=0)
    fit(moco(), [bank, record], steps=2)
    assert record.contrasts[1].candidates[-1].payload["index"].sort().values.tolist() == list(range(32))


def test_logs():
    t = fit(moco(), [MemoryBank()], steps=3, log_every_n_steps=1)
    assert t.callback_metrics["bank/fill"] == 0.75
    assert t.callback_metrics["bank/age"] == 2


@pytest.mark.parametrize("build", [moco, simclr], ids=["moco", "simclr"])
def test_resume(tmp_path, build):
    assert_resumes_exactly(tmp_path, build, lambda: [MemoryBank(negatives=50), MemoryQueue(60)])


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, moco, lambda: [MemoryBank(128, negatives=50)])
    torch.testing.assert_close(one[0]["z"], two[0]["z"], rtol=0, atol=1e-5)
    assert torch.equal(one[0]["step"], two[0]["step"])


def test_state_loads_with_weights_only(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [bank := MemoryBank(), SaveAt(3, path)], steps=3)
    state = torch.load(path, weights_only=True)["callbacks"][bank.state_key]
    again = MemoryBank()
    again.load_state_dict(state)
    assert torch.equal(again.z, bank.z)
    assert again.size == 128


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"size": 0}, "size=0"), ({"momentum": 1}, "momentum=1"), ({"negatives": -1}, "negatives=-1")],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MemoryBank(**kwargs)


def test_misuse():
    with pytest.raises(ValueError, match="'index' runs from 0 to 31"):
        fit(moco(), [MemoryBank(size=20)], steps=2)
    with pytest.raises(ValueError, match="both called 'queue'"):
        fit(moco(), [MemoryBank(name="queue"), MemoryQueue()])
    bank = MemoryBank(size=3)
    with pytest.raises(ValueError, match="holds nothing yet"):
        bank.neighbours(torch.randn(1, 2), 1)
    with pytest.raises(ValueError, match="is no bank's"):
        bank.load_state_dict({"columns": {}})
    with pytest.raises(ValueError, match="has 5 slots"):
        bank.load_state_dict({"size": 5, "z": None, "step": None})


def test_the_default_size_covers_the_indices_of_a_split():
    """Training and validation split share one numbering, so indices exceed the training split's length."""
    data = DigitsDataModule(batch_size=512)
    bank = MemoryBank(negatives=4)
    fit(ContrastiveModule(MLPEncoder()), [bank], steps=2, data=data)
    assert bank.size == int(data.train_set.index.max()) + 1 > len(data.train_set)
    assert bank.known.any()


# Scalars --------------------------------------------------------------------------------------------------------------


def test_loss_history_by_hand():
    """Each sample's own loss, every time it is seen; two views count as their mean."""
    record, bank = Losses(), MemoryBank(scalars=["loss"], history=3)
    fit(simclr(), [bank, record], steps=10, shuffle=True)
    seen = {i: [] for i in range(128)}
    for contrast in record.contrasts:
        z, index = contrast.anchors.z, contrast.anchors.payload["index"]
        logit = (z @ z.T / 0.2).fill_diagonal_(-torch.inf)
        n = len(z) // 2
        loss = logit.logsumexp(1) - logit[torch.arange(2 * n), torch.arange(2 * n).roll(n)]
        for i in index.unique().tolist():
            seen[i].append(float(loss[index == i].mean()))
    table = bank.scalars.table["loss"]
    for i, losses in seen.items():
        last = losses[-3:]
        assert table[i, 3 - len(last) :].tolist() == pytest.approx(last, abs=1e-5)
        assert table[i, : 3 - len(last)].isnan().all()


def test_scalars_travel_with_the_samples():
    record, bank = Losses(), MemoryBank(scalars=["loss"])
    fit(simclr(), [bank, record], steps=8)
    assert record.contrasts[0].anchors.payload["bank_loss"].isnan().all()
    # the second epoch sees what the first one left
    first, later = record.contrasts[0], record.contrasts[4].anchors.payload
    assert not later["bank_loss"].isnan().any()
    assert torch.equal(later["index"], first.anchors.payload["index"])
    assert float(later["bank_loss"].mean()) == pytest.approx(record.losses[0], abs=1e-5)


def test_temperatures_of_samples():
    from lightning_contrast.objectives import ISogCLR

    bank = MemoryBank(scalars=["temperature"])
    module = simclr(ISogCLR(samples=128, eta=0.1))
    fit(module, [bank], steps=9)
    found = bank.scalars.newest("temperature")
    assert found.isnan().sum() == 0
    assert 0.05 <= found.min() < found.max() <= 0.7


def test_anchors_that_are_left_out_have_no_loss():
    from lightning_contrast.objectives import SupCon

    bank, record = MemoryBank(scalars=["loss"]), Losses()

    class Alone(Losses):
        def on_contrast(self, trainer, pl_module, contrast):
            return contrast.exclude(lambda p: (p.anchor.index == 3) & (p.target > 0))

    fit(simclr(SupCon(0.2)), [bank, Alone(), record], steps=1)
    loss = bank.scalars.newest("loss")
    assert loss[3].isnan()
    assert not loss[:3].isnan().any()
    assert float(loss[:32].nanmean()) == pytest.approx(record.losses[0], abs=1e-4)


def test_scalars_over_processes_and_resume(tmp_path):
    def callbacks():
        return [MemoryBank(128, scalars=["loss", "temperature"], history=2)]

    def build():
        from lightning_contrast.objectives import ISogCLR

        return simclr(ISogCLR(samples=128, eta=0.1), dropout=0)

    one, two = assert_two_processes_train_as_one(tmp_path, build, callbacks)
    for key, table in one[0]["scalars"].items():
        torch.testing.assert_close(table, two[0]["scalars"][key], rtol=0, atol=1e-4, equal_nan=True)
    path = tmp_path / "b.ckpt"
    whole, again = (MemoryBank(128, scalars=["loss"], history=2) for _ in range(2))
    fit(simclr(), [whole, SaveAt(3, path)], steps=9, shuffle=True)
    fit(simclr(), [again], steps=9, shuffle=True, ckpt=path, seed=5)
    assert torch.equal(whole.scalars.table["loss"].nan_to_num(), again.scalars.table["loss"].nan_to_num())


# Sharded --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [moco, lambda: simclr(dropout=0)], ids=["moco", "simclr"])
def test_sharded_is_replicated(tmp_path, build):
    """The same training, and the same whole bank in the checkpoint."""
    one, two = assert_two_processes_train_as_one(tmp_path, build, lambda: [MemoryBank(128, negatives=50, sharded=True)])
    (tmp_path / "r").mkdir()
    _, held = assert_two_processes_train_as_one(tmp_path / "r", build, lambda: [MemoryBank(128, negatives=50)])
    torch.testing.assert_close(one[0]["z"], two[0]["z"], rtol=0, atol=1e-5)
    torch.testing.assert_close(held[0]["z"], two[0]["z"], rtol=0, atol=1e-6)
    assert torch.equal(one[0]["step"], two[0]["step"])


def shard(rank, world):
    """Rows 0, 3, 6, ... are known; each rank asks for other rows, one of them for none."""
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(40, 6, generator=generator), dim=1)
    bank = MemoryBank(40, sharded=True)
    write(bank, z[::3], torch.arange(0, 40, 3))
    assert len(bank.z) == len(range(rank, 40, world))
    found = [bank.neighbours(part, 5) for part in (z[rank * 4 : rank * 4 + 3 + rank], z[: 2 * rank], z[:1])]
    everything = bank.neighbours(z[:2], 50)[1]
    state = bank.state_dict()
    again = MemoryBank(40, sharded=True)
    again.load_state_dict(state)
    assert torch.equal(again.z, bank.z)
    return found, everything, state["z"]


@pytest.mark.parametrize("world", [2, 3])
def test_neighbours_of_a_sharded_bank(world):
    (one,) = [shard(0, 1)]
    bank = MemoryBank(40)
    bank.load_state_dict({"size": 40, "z": one[2], "step": torch.where(torch.arange(40) % 3 == 0, 1, -1)})
    generator = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(40, 6, generator=generator), dim=1)
    for rank, (found, everything, whole) in enumerate(run_ranks(world, shard)):
        assert torch.equal(whole, one[2])
        parts = (z[rank * 4 : rank * 4 + 3 + rank], z[: 2 * rank], z[:1])
        for (score, slot), part in zip(found, parts, strict=True):
            if not len(part):
                assert score.shape == slot.shape == (0, 5)
                continue
            expected = bank.neighbours(part, 5)
            torch.testing.assert_close(score, expected[0])
            assert torch.equal(slot, expected[1])
        assert everything.shape == (2, 14)
        assert everything.sort(1).values.tolist() == [list(range(0, 40, 3))] * 2


def test_a_sharded_bank_resumes_at_another_number_of_processes(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [bank := MemoryBank(128, sharded=True, scalars=["loss"]), SaveAt(4, path)], steps=4)
    whole = bank.z

    class Held(MemoryBank):
        def on_train_start(self, trainer, pl_module):
            super().on_train_start(trainer, pl_module)
            assert torch.equal(self.z, whole[trainer.global_rank :: trainer.world_size])

    held = type("MemoryBank", (Held,), {})(128, sharded=True, scalars=["loss"])
    fit(moco(), [held], 6, ckpt=path, strategy="ddp_fork", devices=2)


def test_misuse_of_scalars_and_truncated_states():
    from lightning_contrast.objectives import AlignUniform

    with pytest.raises(ValueError, match="history=0"):
        MemoryBank(scalars=["loss"], history=0)
    with pytest.raises(ValueError, match="list of names"):
        MemoryBank(scalars="loss")
    with pytest.raises(ValueError, match="no anchor has a loss of its own"):
        fit(simclr(AlignUniform()), [MemoryBank(scalars=["loss"])])
    with pytest.raises(KeyError, match="'colour'"):
        fit(simclr(), [MemoryBank(scalars=["colour"])])
    bank = MemoryBank(size=5)
    write(bank, torch.ones(1, 2), [1])
    before = bank.z.clone()
    for bad in ({"z": torch.ones(3, 2)}, {"z": None}, {"scalars": {"loss": torch.ones(2, 1)}}):
        with pytest.raises(ValueError, match="truncated"):
            bank.load_state_dict({**bank.state_dict(), **bad})
        assert torch.equal(bank.z, before)
