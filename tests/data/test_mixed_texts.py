"""Several data sets of texts in one training: by rule, with their own columns and prompts."""

import json
from collections import Counter

import pytest
import torch

from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.data import (
    HashedWords,
    MixedTextDataModule,
    OneSourceBatchSampler,
    TextDataError,
    TextDataModule,
    TextTokenizer,
    check_batch,
)
from lightning_contrast.encoders import DomainExperts
from tests.data.packages import sample

FOUND = sample()
WORDS = "name search text one two"  # of the prompts, which are learned like all others where texts hold them
PAIRS = [{"query": one.short, "document": f"{one.long} {WORDS}"} for one in FOUND[:200]]
ASKED = [
    {"question": f"which is {one.short}", "answer": f"{one.long} {WORDS}", "bad": PAIRS[0]["document"]}
    for one in FOUND[:90]
]
COLUMNS = {"query": "question", "document": "answer", "negative": "bad"}


def parts():
    return {
        "packages": TextDataModule(train=PAIRS, query_prompt="name: "),
        "asked": TextDataModule(train=ASKED, columns=COLUMNS, query_prompt="search: ", document_prompt="text: "),
    }


def mixed(mix="proportional", own=None, **settings):
    settings = {"tokenizer": TextTokenizer(vocab_size=900, max_length=48), "batch_size": 8, **settings}
    data = MixedTextDataModule(parts() if own is None else own, mix, **settings)
    data.setup()
    return data


pytestmark = pytest.mark.filterwarnings("ignore:.*have more than max_length.*")


def words(data, tokens):
    return [data.tokenizer.fast.decode(ids, skip_special_tokens=True) for ids in tokens["input_ids"]]


@pytest.fixture(scope="module")
def data():
    return mixed()


def test_a_batch_is_of_one_data_set_with_its_prompts_and_negatives(data):
    seen = Counter()
    for batch in data.train_dataloader():
        check_batch(batch)
        (source,) = batch["source"].unique().tolist()
        seen[source] += 1
        assert ("negative" in batch) == (source == 1)
        begins = [text.partition(" ")[0] for text in words(data, batch["query"])]
        assert begins == [("name", "search")[source]] * len(begins)
    sizes = torch.tensor(data._bank.rows.known["source"]).bincount().tolist()
    assert [seen[0], seen[1]] == [size // 8 for size in sizes]


def test_equal_texts_are_one_document_and_no_text_is_in_two_splits(data):
    assert len(data.corpus_dataloader().dataset) == len({" ".join(p["document"].lower().split()) for p in PAIRS})
    documents = [set(one.document_id) for one in data._sets.values()]
    assert not any(one & other for place, one in enumerate(documents) for other in documents[:place])
    for loader in (data.val_dataloader(), data.bank_dataloader(), data.corpus_dataloader()):
        assert all("negative" not in batch for batch in loader)


def test_domains_beside_the_tokens():
    data = mixed("shuffled", own={"packages": parts()["packages"], "again": TextDataModule(train=PAIRS[:30])},
                 domains=True, query_part="again", include_prompt=False)  # fmt: skip
    for loader in (data.train_dataloader(), data.corpus_dataloader(), data.bank_dataloader()):
        batch = next(iter(loader))
        for side in ("query", "document"):
            assert torch.equal(batch[side]["domain"], batch["source"])
            assert "pooling_mask" in batch[side]
    torch.manual_seed(0)
    encoder = DomainExperts(config={"hidden_size": 8, "intermediate_size": 8, "vocab_size": 900}, domains=2)
    assert encoder(batch["query"]).shape == (8, 8)
    typed = data.query_inputs(["a map", "a boat"])
    assert typed["domain"].tolist() == [1, 1]
    assert encoder(typed).shape == (2, 8)
    with pytest.raises(ValueError, match="must be one of packages, asked"):
        mixed(domains=True, query_part="none")
    hashed = mixed(domains=True, tokenizer=HashedWords())
    with pytest.raises(ValueError, match="use a TextTokenizer"):
        next(iter(hashed.train_dataloader()))


def test_in_turn_until_the_smallest_ends():
    loader = mixed("round_robin").train_dataloader()
    sources = [batch["source"].unique().tolist() for batch in loader]
    assert sources == [[0], [1]] * (len(sources) // 2)
    assert len(sources) == len(loader)


def test_shuffled():
    own = {name: TextDataModule(train=[(r[a], r[b]) for r in rows], query_prompt=f"{name}: ") for name, rows, a, b in
           (("one", PAIRS, "query", "document"), ("two", ASKED, "question", "answer"))}  # fmt: skip
    data = mixed("shuffled", own)
    mixtures = 0
    for batch in data.train_dataloader():
        named = [text.split()[0] for text in words(data, batch["query"])]
        assert named == [("one", "two")[source] for source in batch["source"]]
        mixtures += len(set(named)) > 1
    assert mixtures > 5
    with pytest.raises(TextDataError, match=r"mix='shuffled': rows with 0 and 1 negatives cannot share a batch"):
        mixed("shuffled")


def test_labels_of_two_data_sets_are_different_classes():
    rows = [{"query": f"q{n}", "document": f"d{n}", "label": n % 3} for n in range(60)]
    more = [{"query": f"r{n}", "document": f"e{n}", "label": n % 2} for n in range(60)]
    data = mixed(own={"one": TextDataModule(train=rows), "two": TextDataModule(train=more)})
    known = data._bank.rows.known
    assert {(s, label) for s, label in zip(known["source"], known["label"], strict=True)} == {
        (0, 0), (0, 1), (0, 2), (1, 3), (1, 4),
    }  # fmt: skip


def test_single_texts():
    own = {name: TextDataModule(train=[f"{name} {n}" for n in range(60)]) for name in ("one", "two")}
    batch = next(iter(mixed(own=own).train_dataloader()))
    assert len(batch["views"]) == 2
    assert len(batch["source"].unique()) == 1
    with pytest.raises(TextDataError, match="parts: one hold single texts and the others pairs"):
        mixed(own={"one": own["one"], "packages": TextDataModule(train=PAIRS)})


def test_misuse():
    for wrong in ({"own": {}}, {"mix": "all"}, {"unpaired": True}):
        with pytest.raises(ValueError, match=r"parts=|mix=|unpaired="):
            mixed(**wrong)
    with pytest.raises(ValueError, match="must be proportional or round_robin"):
        OneSourceBatchSampler([0, 1], 2, "all")  # type: ignore[arg-type]


def test_from_yaml(tmp_path):
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    part = {"class_path": "TextDataModule", "init_args": {"train": str(tmp_path / "p.jsonl"), "query_prompt": "p: "}}
    config = {
        "model": {"encoder": {"class_path": "BagOfWords"}},
        "data": {
            "class_path": "MixedTextDataModule",
            "init_args": {
                "parts": {"packages": part},
                "mix": "round_robin",
                "tokenizer": {"class_path": "HashedWords"},
            },
        },
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    made = ContrastiveCLI(args=["--config", str(tmp_path / "c.yaml")], run=False).datamodule
    made.setup()
    assert isinstance(made.parts["packages"], TextDataModule)
    assert made.mix == "round_robin"
    assert next(iter(made.train_dataloader()))["query"].shape[0] == 64
