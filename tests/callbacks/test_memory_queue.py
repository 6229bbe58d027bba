"""MemoryQueue: first in first out, score then enqueue, masked by index, exact over resume and processes."""

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.callbacks import MemoryQueue
from lightning_contrast.contrast import Candidates
from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.callbacks.kit import (
    KeepState,
    Losses,
    SaveAt,
    assert_equal_state,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.modules.test_contrastive import Digits, linear, loader, weights


def entries(contrast):
    return next((b for b in contrast.candidates if b.name == "queue"), None)


@pytest.mark.parametrize("size", [10, 32, 70, 1000])
def test_against_a_plain_list(size):
    """Every step's loss by a double loop over a Python list of past keys; batches of 32, 32, 32, 4."""
    record, queue = Losses(), MemoryQueue(size)
    fit(moco(), [record, queue], steps=9, n=100)
    memory = []
    for loss, contrast in zip(record.losses, record.contrasts, strict=True):
        a, keys = contrast.anchors, contrast.candidates[0]
        rows = []
        for i in range(a.rows):
            positive = a.z[i] @ keys.z[i, 0] / 0.2
            others = [a.z[i] @ z / 0.2 for z, index in memory if index != a.payload["index"][i]]
            rows.append(torch.stack([positive, *others]).logsumexp(0) - positive)
        assert loss == pytest.approx(torch.stack(rows).mean().item(), abs=1e-5)
        memory = (memory + list(zip(keys.z[:, 0], keys.payload["index"][:, 0], strict=True)))[-size:]
    assert record.losses[0] == pytest.approx(0, abs=1e-6), "nothing to compare with yet"
    assert queue.fill == min(size, 232)


def test_keys_are_enqueued_after_they_were_scored():
    record = Losses()
    fit(moco(), [record, MemoryQueue(64)], steps=4)
    for contrast in record.contrasts[1:]:
        block = entries(contrast)
        assert block is not None
        assert not torch.isin(block.payload["index"], contrast.anchors.payload["index"]).any()


@pytest.mark.parametrize("first", [True, False])
def test_callbacks_after_it_see_the_queue_as_it_was_scored(first):
    record, queue = Losses(), MemoryQueue(20)
    fit(moco(), [queue, record] if first else [record, queue], steps=3)
    for contrast in record.contrasts[1:]:
        assert not torch.isin(entries(contrast).payload["index"], contrast.anchors.payload["index"]).any()


def test_labels_make_entries_positives():
    record = Losses()
    fit(simclr(SupCon(0.2)), [record, MemoryQueue(50)], steps=3)
    contrast = record.contrasts[-1]
    z = torch.cat([b.z for b in contrast.candidates])
    label = torch.cat([b.payload["label"] for b in contrast.candidates])
    logit = contrast.anchors.z @ z.T / 0.2
    itself = torch.zeros_like(logit, dtype=torch.bool)
    itself[:, : len(logit)].fill_diagonal_(True)
    log_p = logit - logit.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    same = (contrast.anchors.payload["label"][:, None] == label) & ~itself
    expected = -((log_p * same).sum(1) / same.sum(1)).mean()
    assert record.losses[-1] == pytest.approx(expected.item(), abs=1e-5)
    assert entries(contrast).rows == 50


@pytest.mark.parametrize(
    ("module", "a_step"),
    [
        (lambda: moco(), 32),
        (lambda: moco(both_orders=True), 64),
        (lambda: moco(in_batch=True), 32),
        (lambda: simclr(), 64),
    ],
    ids=["one order", "both orders", "in batch", "views"],
)
def test_each_distinct_key_is_enqueued_once_a_step(module, a_step):
    queue = MemoryQueue(10_000)
    fit(module(), [queue], steps=3)
    assert queue.fill == 3 * a_step


def test_large_views_are_enqueued_once_with_small_crops():
    class Crops(torch.utils.data.Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, i):
            return {"views": list(torch.randn(4, 64)), "index": torch.tensor(i)}

    queue = MemoryQueue(10_000)
    fit(moco(), [queue], steps=2, data=torch.utils.data.DataLoader(Crops(), batch_size=32))
    assert queue.fill == 2 * 2 * 32


def test_detached_keys_have_no_gradient_and_anchors_keep_theirs():
    """The weights after two steps of plain gradient descent, by hand: both directions, the queue in the second."""
    data = torch.utils.data.DataLoader(list(loader(keys=("anchor", "positive"))), batch_size=None)
    rate = 0.5
    optimizer = lambda p: torch.optim.SGD(p, lr=rate)  # noqa: E731
    module = ContrastiveModule(torch.nn.Linear(64, 16), InfoNCE(0.2, symmetric=True), optimizer=optimizer)
    weight = module.encoder.weight.detach().clone().requires_grad_()
    bias = module.encoder.bias.detach().clone().requires_grad_()
    fit(module, [MemoryQueue(1000, detach_keys=True)], steps=2, data=data)
    stored = None
    for batch, _ in zip(data, range(2), strict=False):
        sides = [F.normalize(F.linear(batch[key].flatten(1), weight, bias)) for key in ("anchor", "positive")]
        losses = []
        for a, keys in (sides, sides[::-1]):
            logit = a @ keys.T if stored is None else torch.cat([a @ keys.detach().T, a @ stored.T], 1)
            losses.append(F.cross_entropy(logit / 0.2, torch.arange(len(a))))
        gradients = torch.autograd.grad(sum(losses) / 2, (weight, bias))
        weight, bias = (
            (w - rate * g).detach().requires_grad_() for w, g in zip((weight, bias), gradients, strict=True)
        )
        stored = torch.cat([sides[1], sides[0]]).detach()
    torch.testing.assert_close(module.encoder.weight.detach(), weight.detach(), atol=1e-5, rtol=1e-4)
    views = simclr()
    with pytest.raises(ValueError, match=r"detach_keys=True.*is for pairs"):
        fit(views, [MemoryQueue(detach_keys=True)], steps=2)


def test_two_queues_one_a_direction():
    module = ContrastiveModule(linear(), InfoNCE(0.2, symmetric=True), key_encoder=linear(1))
    queues = [
        MemoryQueue(64, directions=["anchor->positive"], name="forth"),
        MemoryQueue(64, directions=["positive->anchor"], name="back"),
    ]
    record = Losses()
    data = loader(keys=("anchor", "positive"))
    t = fit(module, [*queues, record], steps=3, data=data)
    assert [b.name for b in record.contrasts[-2].candidates] == ["positive", "forth"]
    assert [b.name for b in record.contrasts[-1].candidates] == ["anchor", "back"]
    # the entries of the second step are that step's keys: each queue holds one tower's
    forth, back = queues
    assert torch.allclose(record.contrasts[4].candidates[0].z, forth.block().z[:32])
    assert torch.allclose(record.contrasts[5].candidates[0].z, back.block().z[:32])
    assert {"forth/fill", "back/age"} <= set(t.callback_metrics)


def test_warm_up_fills_without_scoring():
    record, queue = Losses(), MemoryQueue(500, warmup_steps=2)
    fit(moco(), [record, queue], steps=4)
    assert [entries(c) is None for c in record.contrasts] == [True, True, False, False]
    assert entries(record.contrasts[2]).rows == 64


def test_validation_reads_and_leaves_it():
    blocks = []

    class Look(Losses):
        def on_contrast(self, trainer, pl_module, contrast):
            if trainer.validating or trainer.sanity_checking or not trainer.training:
                blocks.append(entries(contrast))
            return contrast

    queue = MemoryQueue(1000)
    fit(moco(), [queue, Look()], steps=4, val=loader(64))
    assert queue.fill == 128
    assert blocks[-1].rows == 128
    assert blocks[0] is None  # the sanity check, before anything was enqueued


def test_class_wise():
    queue = MemoryQueue(40, classes=10)
    fit(moco(), [queue], steps=12)
    assert torch.bincount(queue.block().payload["label"]).tolist() == [4] * 10


def test_half_precision_storage():
    queue = MemoryQueue(64, dtype="bfloat16")
    record = Losses()
    fit(moco(), [queue, record], steps=3)
    assert queue.block().first.dtype == torch.bfloat16
    # Scored as it is stored: widened tile by tile, never as a whole.
    assert entries(record.contrasts[-1]).first.dtype == torch.bfloat16


def test_logs_fill_and_age():
    t = fit(moco(), [MemoryQueue(64)], steps=4, log_every_n_steps=1)
    assert t.callback_metrics["queue/fill"] == 64
    # after step 4 entries are of steps 2 and 3: 2 and 1 steps old
    assert t.callback_metrics["queue/age"] == 1.5


def test_gradient_reaches_anchors_only():
    queue = MemoryQueue(8)
    z = F.normalize(torch.randn(6, 4), dim=1)
    queue._enqueue(Contrast.from_pairs(z, z, index=torch.arange(6)).candidates[0], step=0)
    a = torch.randn(3, 4, requires_grad=True)
    contrast = Contrast.from_pairs(a, torch.randn(3, 4), in_batch=False, index=torch.arange(10, 13))
    InfoNCE(0.5)(contrast.append(queue.block())).backward()
    assert a.grad.abs().sum() > 0
    assert not queue.block().first.requires_grad


# State and processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", [{}, {"dtype": "bfloat16"}, {"classes": 10}, {"warmup_steps": 6}], ids=str)
def test_resume(tmp_path, kwargs):
    _, (queue,) = assert_resumes_exactly(tmp_path, moco, lambda: [MemoryQueue(100, **kwargs)])
    assert queue.fill > 0


def test_resume_with_accumulation(tmp_path):
    assert_resumes_exactly(tmp_path, simclr, lambda: [MemoryQueue(100)], accumulate_grad_batches=2, stop=3)


@pytest.mark.parametrize("build", [moco, lambda: simclr(dropout=0)], ids=["private keys", "views"])
def test_two_processes(tmp_path, build):
    one, two = assert_two_processes_train_as_one(tmp_path, build, lambda: [MemoryQueue(1000)])
    a, b = one[0]["columns"], two[0]["columns"]
    torch.testing.assert_close(a["z/0"], b["z/0"], rtol=0, atol=1e-5)
    assert torch.equal(a["payload/index"], b["payload/index"])


class Shuffled(pl.LightningDataModule):
    """75 rows in batches of 16 over all processes, the last one of 11: 6 and 5 rows on two."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    def train_dataloader(self):
        return ResumableLoader(Digits(75), ShuffledBatchSampler(75, 16 // self.world))


class SaveAtSeven(pl.Callback):
    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 7:  # in the second epoch
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize(
    ("build", "options"),
    [(moco, {"classes": 10}), (lambda: simclr(dropout=0), {})],
    ids=["a ring for each class", "views"],
)
def test_a_full_queue_is_that_of_one_process(tmp_path, build, options):
    """No batch divides it: which entries are overwritten is told by the order of rows in the batch of all processes."""
    states, found = [], []
    for world, resumed in ((1, False), (2, False), (1, True), (2, True)):  # on the other number of processes
        module, many = build(), {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        keep, save = KeepState(tmp_path / f"{world}-{resumed}"), SaveAtSeven(tmp_path / f"{world}.ckpt")
        path = tmp_path / f"{3 - world}.ckpt" if resumed else None
        calls = [MemoryQueue(50, **options), keep, *([] if resumed else [save])]
        fit(module, calls, 12, ckpt=path, data=Shuffled(world), **many)
        states.append(torch.load(f"{keep.path}-0.pt", weights_only=True)[0])
        found.append(weights(module))
    for state, weight in zip(states[1:], found[1:], strict=True):
        assert state["written"] == states[0]["written"]
        assert torch.equal(state["columns"]["payload/index"], states[0]["columns"]["payload/index"])
        torch.testing.assert_close(state["columns"]["z/0"], states[0]["columns"]["z/0"], rtol=0, atol=1e-5)
        torch.testing.assert_close(weight, found[0], rtol=0, atol=1e-5)


def test_resumes_at_another_number_of_processes(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [SaveAt(4, path), MemoryQueue(100)], steps=4)
    saved = torch.load(path, weights_only=True)["callbacks"]["MemoryQueue{'name': 'queue'}"]
    assert saved["columns"]["z/0"].shape == (100, 16)

    class Held(MemoryQueue):
        def on_train_start(self, *args):
            assert_equal_state(self.state_dict(), saved)

    fit(moco(), [type("MemoryQueue", (Held,), {})(100)], 6, ckpt=path, strategy="ddp_fork", devices=2)


def test_checkpoint_loads_without_the_queue(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [MemoryQueue(100), SaveAt(3, path)], steps=3)
    ContrastiveModule.load_from_checkpoint(path, encoder=linear(), key_encoder=moco().key_encoder, weights_only=True)


# Misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"size": -5}, "size=-5"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"size": 4, "classes": 5}, "classes=5"),
        ({"payload": "label"}, "lists of names"),
    ],
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MemoryQueue(**kwargs)


def test_told_at_set_up():
    with pytest.raises(RuntimeError, match="more than one stateful callback"):  # Lightning's own
        fit(moco(), [MemoryQueue(), MemoryQueue()])
    towers = ContrastiveModule(linear(), InfoNCE(symmetric=True), key_encoder=linear(1))
    with pytest.raises(ValueError, match="mix the embeddings of two towers"):
        fit(towers, [MemoryQueue()], data=loader(keys=("anchor", "positive")))

    import lightning.pytorch as pl

    class Other(pl.LightningModule):
        def training_step(self, batch, batch_idx):
            return None

        def configure_optimizers(self):
            return None

    with pytest.raises(TypeError, match="MemoryQueue needs a ContrastiveModule"):
        fit(Other(), [MemoryQueue()])


def test_unknown_direction():
    with pytest.raises(ValueError, match=r"contrasts are called \['view1->view2'\]"):
        fit(moco(), [MemoryQueue(directions=["image->text"])], steps=8)


def test_missing_payload():
    with pytest.raises(KeyError, match="'colour'"):
        fit(moco(), [MemoryQueue(payload=["colour"])])


def test_another_dimension_is_told_before_a_step(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(moco(), [queue := MemoryQueue(100), SaveAt(3, path)], steps=3)
    other = MemoryQueue(100)
    other.load_state_dict(queue.state_dict())
    module = moco()
    module.encoder = linear(out=8)
    module.key_encoder.follow(module._online())
    before = other.block().z.clone()
    for queue in (other, warming := MemoryQueue(100, warmup_steps=50)):
        if queue is warming:  # not scored yet, so told when the first keys would be enqueued
            warming.load_state_dict(other.state_dict())
        with pytest.raises(ValueError, match=r"holds keys of shape \[16\], the \w+s.* have \[8\]"):
            fit(module, [queue])
        assert torch.equal(queue._fifo.rows()["z/0"], before), "nothing is lost"


@pytest.mark.parametrize("classes", [None, 2])
def test_truncated_states_are_refused_and_nothing_is_lost(classes):
    def filled(n):
        queue = MemoryQueue(10, classes=classes)
        z, label = torch.randn(n, 3), torch.arange(n) % 2
        queue._enqueue(Candidates(z, {"index": torch.arange(n), "label": label}), 0)
        return queue

    for n in (4, 30):
        queue, state = filled(8), filled(n).state_dict()
        before = queue.block().z.clone()
        columns = state["columns"]
        for bad in (
            {**columns, "z/0": columns["z/0"][:-1]},
            {**columns, "payload/index": columns["payload/index"][:1]},
            {},
        ):
            with pytest.raises(ValueError, match="truncated"):
                queue.load_state_dict({**state, "columns": bad})
            assert torch.equal(queue.block().z, before)
        queue.load_state_dict(state)
        assert queue.fill == min(n, 10)


def test_a_million_keys_of_half_precision():
    """Storage as promised; a step reads views of it and copies nothing."""
    queue = MemoryQueue(2**20, dtype="bfloat16")
    z = torch.randn(4096, 8)
    for step in range(260):
        queue._enqueue(Candidates(z, {"index": torch.arange(4096) + 4096 * step}), step)
    block = queue.block()
    assert block.rows == 2**20
    assert block.z.nbytes == 2**20 * 8 * 2
    assert block.z.data_ptr() == queue._fifo.columns["z/0"].data_ptr()
    assert int(block.payload["index"].min()) == 4096 * 4
    state = queue.state_dict()
    assert state["columns"]["z/0"].data_ptr() == block.z.data_ptr()


def test_foreign_states_are_refused():
    queue = MemoryQueue(100)
    with pytest.raises(ValueError, match="truncated or another class's"):
        queue.load_state_dict({"size": 3})
    labelled = MemoryQueue(10, classes=2)
    labelled._fifo.write({"z/0": torch.randn(2, 3), "payload/label": torch.tensor([0, 1])}, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="saved with classes=2"):
        queue.load_state_dict({**labelled.state_dict()})
    with pytest.raises(ValueError, match="stores"):
        MemoryQueue(10, classes=2, payload=["index"]).load_state_dict(labelled.state_dict())
