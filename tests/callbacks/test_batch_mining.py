"""BatchMining: what reaches the sampler and when, over resume and processes, from YAML."""

import lightning.pytorch as pl
import pytest
import torch
import yaml
from torch.nn import functional as F

from lightning_contrast.callbacks import BatchMining, HardNegativeRefresh, MemoryQueue
from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.data import (
    CommunityBatchSampler,
    DistinctBatchSampler,
    NeighbourBatchSampler,
    PseudoLabelBatchSampler,
    ResumableLoader,
    ShuffledBatchSampler,
)
from tests.callbacks.kit import KeepState, SaveAt, assert_equal_state, fit, simclr
from tests.modules.test_contrastive import Digits, weights

SAMPLERS = {
    "neighbours": lambda n, rows: NeighbourBatchSampler(n, rows, neighbours=20, select=8),
    "communities": lambda n, rows: CommunityBatchSampler(n, rows, community=8, skip=2, window=10),
    "pseudo-labels": lambda n, rows: PseudoLabelBatchSampler(n, rows, clusters=48),
}


class Data(pl.LightningDataModule):
    """Four batches of 32 an epoch; the bank has the pictures in another order."""

    def __init__(self, make, rows=32, bank=True):
        super().__init__()
        self.make, self.rows, self.bank = make, rows, bank

    def train_dataloader(self):
        return ResumableLoader(Digits(128), self.make(128, self.rows))

    def bank_dataloader(self):
        backwards = torch.utils.data.Subset(Digits(128), list(range(127, -1, -1)))
        return torch.utils.data.DataLoader(backwards if self.bank else Digits(64), batch_size=50)


class Seen(pl.Callback):
    """The samples of every step."""

    def __init__(self):
        self.steps = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps.append(batch["index"].tolist())


def first_views():
    return torch.stack([Digits(128)[i]["views"][0] for i in range(128)])


@pytest.mark.parametrize("space", ["feature", "embedding"])
def test_the_table_is_of_the_weights_of_now_in_the_samplers_order(space):
    tables = []

    class Check(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            module.eval()
            with torch.no_grad():
                z = F.normalize(module.embed(first_views()), dim=1)
            module.train()
            expected = (z @ z.T).fill_diagonal_(-2).topk(20, dim=1).indices
            table = trainer.train_dataloader.batch_sampler.table
            assert torch.equal(table.long(), expected) == (trainer.current_epoch in (0, 2))
            tables.append(table)

    seen = Seen()
    mining = BatchMining(every_n_epochs=2, space=space)
    t = fit(simclr(), [mining, Check(), seen], 12, data=Data(SAMPLERS["neighbours"]), log_every_n_steps=1)
    assert tables[0] is tables[1]
    assert not torch.equal(tables[0], tables[2])
    figures = {key: t.callback_metrics[f"mining/{key}"].item() for key in ("similarity", "chance", "seconds", "age")}
    assert figures["similarity"] > figures["chance"]
    assert figures["age"] == 0
    for number in range(3):  # the very first epoch is mined already
        epoch = seen.steps[4 * number : 4 * number + 4]
        assert sorted(i for batch in epoch for i in batch) == list(range(128))
        sampler = SAMPLERS["neighbours"](128, 32)
        sampler.table = tables[number]
        sampler.set_epoch(number)
        assert epoch == list(sampler)


def test_random_until_the_start():
    sampler = SAMPLERS["neighbours"](128, 32)
    seen = Seen()
    fit(simclr(), [BatchMining(start=1), seen], 8, data=Data(lambda n, rows: sampler))
    assert seen.steps[:4] == list(ShuffledBatchSampler(128, 32))
    assert sampler.table is not None


@pytest.mark.parametrize("kind", SAMPLERS)
@pytest.mark.parametrize("stop", [5, 6, 8])  # in mid-epoch; at the end of one, before the next is mined
def test_resume_is_the_uninterrupted_run(tmp_path, kind, stop):
    path = tmp_path / "a.ckpt"
    make = lambda: [BatchMining(every_n_epochs=2), MemoryQueue(40), HardNegativeRefresh(2)]  # noqa: E731
    whole, again, before, after = simclr(), simclr(), make(), make()
    first, second = Seen(), Seen()
    fit(whole, [*before, SaveAt(stop, path), first], 14, data=Data(SAMPLERS[kind]))
    fit(again, [*after, second], 14, ckpt=path, seed=77, data=Data(SAMPLERS[kind]))
    assert second.steps == first.steps[stop:]
    for (name, a), (_, b) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    for one, two in zip(before, after, strict=True):
        assert_equal_state(one.state_dict() | {"figures": 0}, two.state_dict() | {"figures": 0})


@pytest.mark.parametrize("kind", SAMPLERS)
def test_two_processes_train_as_one(tmp_path, kind):
    results, states = [], []
    for world in (1, 2):
        module = simclr(dropout=0)
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        keep = KeepState(tmp_path / str(world))
        fit(module, [BatchMining(), keep], 6, data=Data(SAMPLERS[kind], 32 // world), **many)
        results.append(weights(module))
        states += [torch.load(f"{keep.path}-{rank}.pt", weights_only=True)[0]["table"] for rank in range(world)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)
    assert torch.equal(states[1], states[2])
    assert torch.equal(states[0], states[1])


def test_another_number_of_processes_takes_up_the_table(tmp_path):
    """Saved by one process in mid-epoch; two go on with the rest of that epoch."""

    class Keep(Seen):
        def on_train_end(self, trainer, pl_module):
            torch.save(self.steps, tmp_path / f"{trainer.global_rank}.pt")

    path, whole = tmp_path / "a.ckpt", Seen()
    fit(simclr(), [BatchMining(), SaveAt(6, path), whole], 8, data=Data(SAMPLERS["neighbours"]))
    two = {"strategy": "ddp_fork", "devices": 2}
    fit(simclr(), [BatchMining(), Keep()], 8, ckpt=path, data=Data(SAMPLERS["neighbours"], 16), **two)
    shares = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for number, batch in enumerate(whole.steps[6:]):
        assert sorted(shares[0][number] + shares[1][number]) == sorted(batch)


class TestMisuse:
    def test_values(self):
        for kwargs, message in (({"every_n_epochs": 0}, "every_n_epochs=0"), ({"space": "pixels"}, "space='pixels'")):
            with pytest.raises(ValueError, match=message):
                BatchMining(**kwargs)

    def test_a_sampler_that_takes_nothing_mined(self):
        data = Data(lambda n, rows: DistinctBatchSampler(torch.arange(n), rows))
        with pytest.raises(ValueError, match="training loader has DistinctBatchSampler: give the DataModule one"):
            fit(simclr(), [BatchMining()], data=data)

    def test_a_sampler_without_the_callback(self):
        with pytest.raises(ValueError, match="add the callback BatchMining"):
            fit(simclr(), [], data=Data(SAMPLERS["communities"]))

    def test_a_bank_without_the_training_samples(self):
        with pytest.raises(ValueError, match="64 of 128 training samples are not among those embedded"):
            fit(simclr(), [BatchMining()], data=Data(SAMPLERS["neighbours"], bank=False))

    def test_diverged(self):
        module = simclr()
        with torch.no_grad():
            module.encoder[0].weight[0, 0] = torch.nan
        with pytest.raises(ValueError, match="embeddings are not finite"):
            fit(module, [BatchMining()], data=Data(SAMPLERS["neighbours"]))

    def test_a_foreign_state(self):
        with pytest.raises(ValueError, match=r"lacks \['epoch', 'figures', 'table'\]"):
            BatchMining().load_state_dict({"last": 1})
        callback = BatchMining()
        callback.load_state_dict({"last": 0, "epoch": 0, "figures": {}, "table": torch.zeros(5, 3)})
        with pytest.raises(ValueError, match="has 5 rows, but there are 128 samples"):
            fit(simclr(), [callback], data=Data(SAMPLERS["neighbours"]))


@pytest.mark.parametrize(
    ("sampler", "callbacks"),
    [
        ({"class_path": "NeighbourBatchSampler", "init_args": {"neighbours": 20, "select": 8}}, ["BatchMining"]),
        ({"class_path": "CommunityBatchSampler", "init_args": {"community": 8}}, ["BatchMining"]),
        ({"class_path": "PseudoLabelBatchSampler", "init_args": {"clusters": 96}}, ["BatchMining"]),
        ({"class_path": "MPerClassBatchSampler", "init_args": {"m": 6}}, []),
        ({"class_path": "DistinctBatchSampler", "init_args": {"drop_last": False}}, []),
        ({"class_path": "BindingBatchSampler"}, []),
    ],
    ids=lambda v: v["class_path"] if isinstance(v, dict) else "",
)
def test_from_yaml(tmp_path, sampler, callbacks):
    config = {
        "trainer": {
            "callbacks": [{"class_path": c} for c in callbacks], "max_steps": 2, "accelerator": "cpu", "logger": False,
            "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
            "limit_val_batches": 0, "default_root_dir": str(tmp_path),
        },
        "model": {"encoder": {"class_path": "MLPEncoder"}},
        "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 48, "sampler": sampler, "seed": 3}},
    }  # fmt: skip
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    cli = ContrastiveCLI(args=[f"--config={path}"], run=False)
    cli.trainer.fit(cli.model, cli.datamodule)
    used = cli.trainer.train_dataloader.batch_sampler
    assert type(used).__name__ == sampler["class_path"]
    assert used.seed == 3
    for key, value in sampler.get("init_args", {}).items():
        assert getattr(used, key) == value
