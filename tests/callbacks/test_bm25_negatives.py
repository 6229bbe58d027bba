"""BM25Negatives: which they are, that they stay, and that a resumed run has them."""

import sys

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import BM25Negatives
from lightning_contrast.data import DigitsDataModule, PackageSearchDataModule
from lightning_contrast.encoders import BagOfWords, MLPEncoder
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import SaveAt, assert_equal_state
from tests.data.packages import write_sample
from tests.modules.test_contrastive import weights

pytest.importorskip("bm25s")
WORDS = 2000


class Seen(pl.Callback):
    """What was compared in each step."""

    def __init__(self):
        self.contrasts, self.losses = [], []

    def on_contrast_end(self, trainer, pl_module, contrast, loss):
        self.contrasts.append(contrast)
        self.losses.append(loss)


@pytest.fixture
def root(tmp_path):
    return str(write_sample(tmp_path / "sample"))


def trained(root, callbacks, steps=6, ckpt=None, batch_size=16, **trainer):
    pl.seed_everything(1, verbose=False)
    module = ContrastiveModule(BagOfWords(WORDS, 16), InfoNCE(0.1))
    data = PackageSearchDataModule(root=root, batch_size=batch_size, words=WORDS)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    fit = pl.Trainer(
        max_steps=steps, accelerator="cpu", limit_val_batches=0, callbacks=callbacks, **{**quiet, **trainer}
    )
    fit.fit(module, data, ckpt_path=ckpt)
    return module, data


def test_each_query_gets_the_best_documents_of_other_families(root):
    negatives, seen = BM25Negatives(num_negatives=2, same_label=True), Seen()
    _, data = trained(root, [negatives, seen])
    train = data.train_set
    assert torch.equal(negatives.index, train.index)
    held = [{int(w) for w in row if w} for row in train.document]
    label = train.payload["label"]
    for row, mined in enumerate(negatives.table.tolist()):
        for one in filter(lambda one: one >= 0, mined):
            assert label[one] != label[row]
            assert held[one] & {int(w) for w in train.query[row] if w}
    block = next(b for b in seen.contrasts[0].candidates if b.name == "mined")
    own = seen.contrasts[0].anchors.get("index")
    where = {int(i): r for r, i in enumerate(train.index)}
    # An empty place holds the anchor's own index, and does not exist.
    rows = [[r if r >= 0 else where[int(i)] for r in negatives.table[where[int(i)]].tolist()] for i in own]
    expected = [[int(train.index[r]) for r in row] for row in rows]
    assert (negatives.table >= 0).float().mean() > 0.9
    assert block.get("index").tolist() == expected


def test_the_range_leaves_out_the_best(root):
    best, later = BM25Negatives(num_negatives=3, same_label=True), BM25Negatives(1, range_min=1, same_label=True)
    trained(root, [best], steps=1)
    trained(root, [later], steps=1)
    assert torch.equal(later.table[:, 0], best.table[:, 1])


def test_without_the_rule_siblings_are_the_hardest(root):
    negatives = BM25Negatives(num_negatives=1)
    _, data = trained(root, [negatives], steps=1)
    label = data.train_set.payload["label"]
    same = label[negatives.table[:, 0].clamp(min=0)] == label
    assert same.float().mean() > 0.5


def test_resumes_exactly_and_does_not_search_again(root, tmp_path, monkeypatch):
    whole, first, rest = Seen(), Seen(), Seen()
    a = BM25Negatives(2, same_label=True)
    module, _ = trained(root, [a, whole], steps=9)
    trained(root, [BM25Negatives(2, same_label=True), first, SaveAt(5, tmp_path / "a.ckpt")], steps=5)
    monkeypatch.setattr("lightning_contrast.callbacks.bm25_negatives.bm25_topk", None)
    b = BM25Negatives(2, same_label=True)
    resumed, _ = trained(root, [b, rest], steps=9, ckpt=tmp_path / "a.ckpt")
    assert_equal_state(a.state_dict(), b.state_dict())
    assert torch.equal(torch.stack(whole.losses), torch.stack([*first.losses, *rest.losses]))
    for one, two in zip(module.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_two_processes_train_as_one(root):
    found = []
    for world in (1, 2):
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {"devices": 1}
        module, _ = trained(root, [BM25Negatives(num_negatives=2)], steps=3, batch_size=16 // world, **many)
        found.append(weights(module))
    torch.manual_seed(0)
    plain, _ = trained(root, [], steps=3)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
    assert (weights(plain) - found[0]).abs().max() > 1e-4, "the negatives count"


def test_pictures_are_no_words():
    module = ContrastiveModule(MLPEncoder([8], 8), InfoNCE(0.1))
    trainer = pl.Trainer(max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, callbacks=[BM25Negatives()])  # fmt: skip
    with pytest.raises(ValueError, match="pairs of token numbers"):
        trainer.fit(module, DigitsDataModule(batch_size=32))


def test_wrong_numbers():
    with pytest.raises(ValueError, match="num_negatives=0"):
        BM25Negatives(0)
    with pytest.raises(ValueError, match="range_max"):
        BM25Negatives(4, range_max=3)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ImportError, match=r"lightning-contrast\[bm25\]"):
        BM25Negatives()
