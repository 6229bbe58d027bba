"""Queue, refreshed negatives and search together on texts with a small transformer: processes, resume, precision."""

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import FalseNegativeFilter, HardNegativeRefresh, MemoryQueue, SearchEvaluation
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import SaveAt, assert_equal_state
from tests.data.packages import sample

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
PAIRS = [{"query": one.short, "document": one.long} for one in sample()]
TRAIN, HELD = PAIRS[:37], PAIRS[60:79]
"""Of a global batch of 16 the last has 5 rows, of which two processes have 3 and 2; the queries are odd as well."""

pytestmark = pytest.mark.filterwarnings("ignore:.*are in train as well:UserWarning")


def data(batch_size, **settings):
    return TextDataModule(
        TRAIN, val=HELD, test=HELD, tokenizer=TextTokenizer(vocab_size=600, max_length=64), batch_size=batch_size,
        **{"drop_last": False, **settings},
    )  # fmt: skip


def module(dropout=0.0, **settings):
    torch.manual_seed(0)
    encoder = TextEncoder(config=CONFIG, dropout=dropout)
    made = {"optimizer": lambda p: torch.optim.SGD(p, lr=0.5), **settings}
    return ContrastiveModule(encoder, InfoNCE(0.1), **made)


def callbacks():
    return [
        MemoryQueue(24),
        HardNegativeRefresh(3, same_key="document_id", every_n_steps=2),
        FalseNegativeFilter(same=["query_id", "document_id"]),
        SearchEvaluation(["ndcg@10", "recall@5"], bm25=False),
    ]


class Kept(pl.Callback):
    """Losses and gradients of each step, figures of each validation; written down by every process."""

    def __init__(self, path):
        self.path, self.seen = path, {"loss": [], "gradient": [], "figures": []}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen["gradient"].append(torch.cat([p.grad.flatten() for p in pl_module.parameters()]))

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.seen["loss"].append(trainer.callback_metrics["train/loss"].item())

    def on_validation_end(self, trainer, pl_module):
        self.seen["figures"].append({k: float(v) for k, v in trainer.callback_metrics.items() if "@" in k})

    def on_train_end(self, trainer, pl_module):
        self.seen["states"] = [c.state_dict() for c in trainer.callbacks if hasattr(c, "on_contrast")]
        torch.save(self.seen, f"{self.path}-{trainer.global_rank}.pt")


def fit(net, texts, given, steps=6, ckpt=None, **settings):
    torch.manual_seed(1)
    trainer = pl.Trainer(
        max_steps=steps, callbacks=given, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1, **settings,
    )  # fmt: skip
    trainer.fit(net, datamodule=texts, ckpt_path=ckpt, weights_only=True)
    return trainer


def flat(net):
    return torch.cat([p.detach().flatten().float() for p in net.parameters()])


def test_two_processes_train_and_search_as_one(tmp_path):
    seen, ends = [], []
    for world in (1, 2):
        net, many = module(), {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        texts = data(16 // world)
        fit(net, texts, [*callbacks(), Kept(tmp_path / str(world))], **many)
        seen.append([torch.load(f"{tmp_path}/{world}-{rank}.pt", weights_only=True) for rank in range(world)])
        ends.append(flat(net))
    one, (first, second) = seen[0][0], seen[1]
    assert len(one["loss"]) == 6
    assert first["loss"] == pytest.approx(one["loss"], abs=1e-5)
    for step, (a, b, c) in enumerate(zip(one["gradient"], first["gradient"], second["gradient"], strict=True)):
        assert torch.equal(b, c), step
        torch.testing.assert_close(b, a, rtol=0, atol=1e-5)
    assert len(one["figures"]) == 2
    assert {"val/ndcg@10", "val/ndcg@10_untrained", "val/recall@5"} <= set(one["figures"][0])
    for ours in (first, second):
        for a, b in zip(one["figures"], ours["figures"], strict=True):
            assert b == pytest.approx(a, abs=1e-6)
    assert_equal_state(first["states"], second["states"])
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-5)
    assert (ends[0] - flat(module())).abs().max() > 1e-3


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """Stopped in the middle of the second epoch, between two refreshes, with dropout."""
    path = tmp_path / "a.ckpt"
    whole, again, before, after = module(0.1), module(0.1), callbacks(), callbacks()
    fit(whole, data(16), [*before, SaveAt(5, path)], 9)
    fit(again, data(16), after, 9, ckpt=path)
    assert torch.equal(flat(whole), flat(again))
    for one, two in zip(before, after, strict=True):
        assert_equal_state(one.state_dict(), two.state_dict())


def test_in_half_precision(tmp_path):
    """The kit runs in bf16, the queue keeps what is compared, and learning is about that of float32."""
    runs = {}
    for precision in ("32-true", "bf16-mixed"):
        net, kept = module(optimizer=lambda p: torch.optim.AdamW(p, lr=3e-3)), Kept(tmp_path / precision)
        fit(net, data(16), [*callbacks(), kept], 9, precision=precision)
        runs[precision] = torch.load(f"{kept.path}-0.pt", weights_only=True)["loss"]
        assert flat(net).isfinite().all()
        assert all(p.dtype == torch.float32 for p in net.parameters())
    assert runs["bf16-mixed"][-1] < runs["bf16-mixed"][0]
    assert runs["bf16-mixed"] == pytest.approx(runs["32-true"], abs=0.15)
    assert runs["bf16-mixed"] != runs["32-true"], "it was in half precision"
