"""Memories, negatives and temperature together, in several orders: a few steps, a resume to the bit, two processes."""

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast.callbacks import (
    Debiasing,
    FalseNegativeFilter,
    HardnessWeighting,
    MemoryBank,
    MemoryQueue,
    MixedNegatives,
    PrototypeMemory,
    TeacherEmbedding,
    TemperatureSchedule,
)
from lightning_contrast.encoders import Momentum, Snapshot
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.callbacks.kit import (
    Losses,
    assert_equal_state,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)

PARTS = {
    "teacher": TeacherEmbedding,
    "queue": lambda: MemoryQueue(100, payload=["index", "label"]),
    "bank": lambda: MemoryBank(128, negatives=30, scalars=["loss"], history=2),
    "prototypes": lambda: PrototypeMemory(8, every_n_steps=4, name="cluster"),
    "filter": lambda: FalseNegativeFilter(max_score=0.995, blocks=["queue", "bank"]),
    "mixer": lambda: MixedNegatives(hardest=16, mixed=8, with_anchor=4),
    "debiasing": lambda: Debiasing(tau_plus=0.02),
    "hardness": lambda: HardnessWeighting(beta=0.3),
    "temperature": lambda: TemperatureSchedule(0.1, 0.3),
}
ORDERS = {
    "as listed": list(PARTS),
    "temperature first": [
        "temperature",
        "prototypes",
        "bank",
        "queue",
        "mixer",
        "hardness",
        "debiasing",
        "filter",
        "teacher",
    ],
    "rules first": [
        "filter",
        "debiasing",
        "hardness",
        "queue",
        "teacher",
        "mixer",
        "temperature",
        "bank",
        "prototypes",
    ],
}


def callbacks(order, leave=()):
    return [PARTS[name]() for name in ORDERS[order] if name not in leave]


@pytest.mark.parametrize("order", ORDERS)
def test_a_few_steps(order):
    record = Losses()
    t = fit(moco(), [*callbacks(order), record], steps=6, log_every_n_steps=1)
    assert all(torch.isfinite(torch.tensor(record.losses)))
    names = {b.name for b in record.contrasts[-1].candidates}
    assert names == {"positive", "queue", "bank", "mixed"}
    assert {"teacher", "cluster", "bank_loss"} <= set(record.contrasts[-1].anchors.payload)
    assert {"queue/age", "bank/age", "cluster/used", "train/temperature"} <= set(t.callback_metrics)


def test_what_commutes_commutes():
    """Blocks, schedules and payload: every order of these trains the same weights."""
    some = ["teacher", "queue", "prototypes", "temperature", "bank"]
    results = []
    for shift in range(len(some)):
        module = moco()
        fit(module, [PARTS[name]() for name in some[shift:] + some[:shift]], steps=6)
        results.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("build", [moco, lambda: moco(both_orders=True)], ids=["one order", "both orders"])
def test_resume(tmp_path, order, build):
    assert_resumes_exactly(tmp_path, build, lambda: callbacks(order))


def test_resume_without_a_momentum_encoder(tmp_path):
    def parts():
        return [TeacherEmbedding(Momentum(0.5)), *callbacks("as listed", leave=["teacher"])]

    assert_resumes_exactly(tmp_path, simclr, parts)


@pytest.mark.parametrize("order", ["as listed", "rules first"])
def test_two_processes(tmp_path, order):
    """A row that is not the same to the last bit may fall on the other side of a threshold, so the rules stay away."""
    one, two = assert_two_processes_train_as_one(tmp_path, moco, lambda: callbacks(order, leave=["filter"]))
    assert len(one) == len(two) == 8


def test_labels_snapshots_and_class_wise_queues(tmp_path):
    def parts():
        return [
            TeacherEmbedding(Snapshot(every_n_epochs=1)),
            PrototypeMemory(10, assign="label", append=True),
            MemoryQueue(60, classes=10),
            MemoryQueue(40, name="second", warmup_steps=3, dtype="bfloat16"),
        ]

    assert_resumes_exactly(tmp_path, lambda: simclr(SupCon(0.2)), parts)


def test_a_checkpoint_with_one_more_memory_loads_and_the_others_are_whole(tmp_path):
    path = tmp_path / "a.ckpt"

    class Save(pl.Callback):
        def on_train_end(self, trainer, pl_module):
            trainer.save_checkpoint(path)

    queue, bank = MemoryQueue(50), MemoryBank(128)
    fit(moco(), [queue, bank, Save()], steps=3)
    again, fresh = MemoryQueue(50), PrototypeMemory(4)
    fit(moco(objective=InfoNCE(0.2)), [again, fresh], steps=3, ckpt=path)
    assert_equal_state(again.state_dict(), queue.state_dict())
