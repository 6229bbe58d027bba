"""cornstack: pairs that a proxy does not find are left out."""

import random
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import (
    ConsistentPairs,
    EmbeddedBy,
    HashedWords,
    TextDataModule,
    WordNetDataModule,
    WordOverlap,
    WordVectors,
)
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.functional import own_rank as module
from lightning_contrast.functional.own_rank import own_rank
from tests.data.wordnet_sample import write_wordnet
from tests.modules.test_contrastive import trainer

ROWS = [{"query": f"the {word} here", "document": f"{word} text"} for word in "abcdefgh"]


def letters(texts):
    """A vector for each: which letters of a to h are words of it."""
    return [[float(letter in text.split()) for letter in "abcdefgh"] for text in texts]


class Given(TextDataModule):
    """Rows that were changed after the split."""

    def read(self):
        rows = self.sources["train"]
        return {"train": rows, "val": rows.take([0, 1]), "test": rows.take([2, 3])}, {}


@pytest.mark.parametrize("block", [3, 1024])
def test_ranks_beside_a_double_loop(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    torch.manual_seed(0)
    q, d, own = torch.randn(10, 4), torch.randn(7, 4), torch.randint(7, (10,))
    found = own_rank(q, d, own)
    for i in range(10):
        scores = [float(F.cosine_similarity(q[i], d[j], dim=0)) for j in range(7)]
        assert found.rank[i] == 1 + sum(s > scores[own[i]] for j, s in enumerate(scores) if j != own[i])
        assert found.similarity[i].item() == pytest.approx(scores[own[i]], abs=1e-6)
    with pytest.raises(ValueError, match="document: row 1 is not finite"):
        own_rank(q, d.index_fill(0, torch.tensor([1]), float("nan")), own)
    with pytest.raises(ValueError, match="must be"):
        own_rank(q, d[:, :2], own)


def test_planted_mismatches_of_wordnet_are_found(tmp_path):
    """A tenth of the glosses got the words of others; of those that share a word with theirs, since the proxy knows no more."""
    clean = WordNetDataModule(root=str(write_wordnet(tmp_path))).read()[0]["train"]
    clean = clean.take(
        [i for i, both in enumerate(zip(clean.query, clean.document, strict=True)) if WordOverlap()(*both)]
    )
    assert len(clean) > 200
    bad = random.Random(0).sample(range(len(clean)), len(clean) // 10)
    document = list(clean.document)
    for one, other in zip(bad, bad[1:] + bad[:1], strict=True):
        document[one] = clean.document[other]
    filtered = ConsistentPairs(Given(replace(clean, document=document)), rank=2, threshold=0.3)
    kept = set(filtered.consistent(filtered.texts_of.read()[0]["train"]))
    gone = set(range(len(clean))) - kept
    assert len(gone & set(bad)) / len(bad) >= 0.95, "recall"
    assert len(gone & set(bad)) / len(gone) >= 0.75, "precision: 24 of 30"
    assert len(kept - set(bad)) / (len(clean) - len(bad)) >= 0.95, "of the good pairs 6 are lost"


def test_rank_and_threshold():
    rows = [*ROWS, {"query": "the a b", "document": "c text"}, {"query": "b h", "document": "h b a"}]

    def kept(**settings):
        data = ConsistentPairs(TextDataModule(rows, val=ROWS, test=ROWS), proxy=EmbeddedBy(letters), **settings)
        splits = data.read()[0]
        assert splits["val"].query == [row["query"] for row in ROWS], "held out: as they are"
        assert data.source.endswith(f"{len(splits['train'])} of 10 training pairs consistent")
        return [
            rows.index({"query": q, "document": d})
            for q, d in zip(splits["train"].query, splits["train"].document, strict=True)
        ]

    assert kept(rank=None, threshold=-1) == kept(rank=10, threshold=-1) == list(range(10))
    assert kept(rank=1, threshold=-1) == [*range(8), 9]
    assert kept(rank=None, threshold=0.9) == list(range(8))
    assert kept(rank=2, threshold=0.8) == [*range(8), 9]


def test_splits_are_made_before():
    pairs = [{"query": f"what is {i} of {i * i}", "document": f"answer {i}"} for i in range(200)]
    data = ConsistentPairs(
        TextDataModule(pairs), rank=1, threshold=-1, proxy=EmbeddedBy(lambda texts: torch.ones(len(texts), 2))
    )
    assert set(data.read()[0]) == {"train", "val", "test"}


def of_the_first_process(texts):
    return letters(texts) if torch.distributed.get_rank() == 0 else torch.zeros(len(texts), 8)


def test_all_processes_keep_what_the_first_one_keeps():
    held = [{**row, "query": f"another {row['query']}"} for row in ROWS]
    data = ConsistentPairs(TextDataModule(ROWS, val=held, test=held), proxy=EmbeddedBy(of_the_first_process), rank=1,
                           tokenizer=HashedWords(64), batch_size=4)  # fmt: skip
    net = ContrastiveModule(BagOfWords(64, 8))
    trainer(max_steps=1, strategy="ddp_fork", devices=2, limit_val_batches=0).fit(net, data)


def test_misuse():
    for wrong in ({"rank": 0}, {"threshold": 1.5}):
        with pytest.raises(ValueError, match="need a rank"):
            ConsistentPairs(TextDataModule(ROWS), **wrong)
    with pytest.raises(TextDataError, match="single texts"):
        ConsistentPairs(TextDataModule([{"text": "a"}])).read()
    none = EmbeddedBy(lambda texts: torch.randn(len(texts), 99, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(TextDataError, match="0 of 8 training pairs consistent; ask for less"):
        ConsistentPairs(TextDataModule(ROWS, val=ROWS, test=ROWS), threshold=0.99, proxy=none).read()
    with pytest.raises(TextDataError, match=r"gave \[16\] for 16 texts"):
        ConsistentPairs(
            TextDataModule(ROWS, val=ROWS, test=ROWS), proxy=EmbeddedBy(lambda texts: [0.0] * len(texts))
        ).read()
    with pytest.raises(ValueError, match="width=0"):
        WordVectors(0)
    with pytest.raises(TextDataError, match="too few to compare"):
        WordVectors()(["a"])
