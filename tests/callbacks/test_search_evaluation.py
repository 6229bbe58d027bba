"""SearchEvaluation: figures against a plain search, what they are compared with, resume, two processes, misuse."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import SearchEvaluation
from lightning_contrast.data import DigitsDataModule, HashedWords, PackageTextDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.objectives import InfoNCE
from tests.data.packages import write_sample


@pytest.fixture
def data(tmp_path):
    return PackageTextDataModule(root=str(write_sample(tmp_path)), tokenizer=HashedWords(words=500), batch_size=16)


def fitted(data, tmp_path, callback, epochs=1, ckpt_path=None, optimizer=None, **settings):
    torch.manual_seed(0)
    module = ContrastiveModule(BagOfWords(words=500, output_dim=8), InfoNCE(), optimizer=optimizer)
    trainer = Trainer(
        max_epochs=epochs, callbacks=[callback], logger=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", default_root_dir=tmp_path, enable_checkpointing=False, **settings,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer, module


def plain_mrr(encoder, data):
    """Every query alone, every document looked at."""
    documents = [(row["document_id"], encoder(HashedWords(words=500)([row["document"]]))[0]) for row in map(
        data.corpus_dataloader().dataset.__getitem__, range(len(data.corpus_dataloader().dataset)))]  # fmt: skip
    held = data._sets["val"]
    total = 0.0
    for row in map(held.__getitem__, range(len(held))):
        z = encoder(HashedWords(words=500)([row["query"]]))[0]
        order = sorted(documents, key=lambda one: -float(torch.cosine_similarity(z, one[1], dim=0)))
        place = [number for number, _ in order].index(row["document_id"]) + 1
        total += 1 / place if place <= 10 else 0
    return total / len(held)


def test_figures_are_those_of_a_plain_search(data, tmp_path):
    callback = SearchEvaluation(["mrr@10"], bm25=False)
    torch.manual_seed(0)
    before = BagOfWords(words=500, output_dim=8)
    trainer, module = fitted(data, tmp_path, callback)
    with torch.no_grad():
        assert float(trainer.callback_metrics["val/mrr@10"]) == pytest.approx(plain_mrr(module.encoder, data), abs=1e-6)
        untrained = plain_mrr(before, data)
    assert float(trainer.callback_metrics["val/mrr@10_untrained"]) == pytest.approx(untrained, abs=1e-6)
    assert untrained < 0.9, "training must have something to win"


def test_bm25_is_beside(data, tmp_path):
    pytest.importorskip("bm25s")
    trainer, _ = fitted(data, tmp_path, SearchEvaluation(["mrr@10", "recall@5"]))
    assert 0.3 < float(trainer.callback_metrics["val/mrr@10_bm25"]) <= 1
    assert {"val/recall@5", "val/recall@5_untrained", "val/recall@5_bm25"} <= set(trainer.callback_metrics)


def test_a_quick_run_reads_few_documents(data, tmp_path, monkeypatch):
    read, few = [], SearchEvaluation._few
    monkeypatch.setattr(
        SearchEvaluation,
        "_few",
        lambda *given: (lambda loader: read.append(len(loader.dataset)) or loader)(few(*given)),
    )
    data.batch_size = 4
    with pytest.warns(UserWarning, match="none of the 4 queries that were read has its document among the 4") as told:
        trainer, _ = fitted(data, tmp_path, SearchEvaluation(["mrr@10"]), fast_dev_run=True)
    assert sum("has its document among" in str(one.message) for one in told) == 1
    assert not [name for name in trainer.callback_metrics if "@" in name], "rather than nan"
    assert len(data.corpus_dataloader().dataset) > max(read)
    assert max(read) <= max(data.corpus_dataloader().batch_size, data.val_dataloader().batch_size)


def test_a_resumed_run_keeps_what_was_before_training(data, tmp_path):
    trainer, _ = fitted(data, tmp_path, SearchEvaluation(["mrr@10"], bm25=False))
    path = tmp_path / "run.ckpt"
    trainer.save_checkpoint(path)
    again, _ = fitted(data, tmp_path, SearchEvaluation(["mrr@10"], bm25=False), epochs=2, ckpt_path=path)
    for name in ("val/mrr@10_untrained",):
        assert float(again.callback_metrics[name]) == float(trainer.callback_metrics[name])


def test_two_processes_share_the_search(data, tmp_path):
    """Weights stand still, so that one process and two must find the same."""
    pytest.importorskip("bm25s")
    found = []
    for many in ({}, {"strategy": "ddp_fork", "devices": 2}):
        still = partial(torch.optim.SGD, lr=0.0)
        callback = SearchEvaluation(["mrr@10", "recall@10"])
        trainer, _ = fitted(data, tmp_path, callback, optimizer=still, num_sanity_val_steps=0, **many)
        found.append({k: float(v) for k, v in trainer.callback_metrics.items() if "@" in k})
    assert len(found[0]) == 6
    assert 0 < found[0]["val/mrr@10"] < 1
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_without_documents(tmp_path):
    with pytest.raises(ValueError, match=r"SearchEvaluation searches documents, but DigitsDataModule has none"):
        fitted(DigitsDataModule(image_size=14, batch_size=48), tmp_path, SearchEvaluation())


@pytest.mark.parametrize(
    ("bad", "message"),
    [({"figures": ["ndgc@10"]}, "unknown retrieval figure"), ({"every_n_epochs": 0}, "every_n_epochs=0")],
)
def test_bad(bad, message):
    with pytest.raises(ValueError, match=message):
        SearchEvaluation(**bad)
