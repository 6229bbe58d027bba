"""Texts through a small transformer: tokens, pooling, batches, and the folder that others open."""

import json

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.evidence.by_search import search
from lightning_contrast.cli.shipped import Shipped
from lightning_contrast.cli.text_folder import differences, write_text_folder
from lightning_contrast.data import (
    HashedWords,
    TextDataError,
    TextDataModule,
    TextTokenizer,
    WordRepetition,
    check_batch,
)
from lightning_contrast.data.text_collate import TextCollate
from lightning_contrast.functional.pooling import pooled
from lightning_contrast.objectives import InfoNCE
from tests.data.packages import sample

pytest.importorskip("transformers")
from lightning_contrast.encoders import TextEncoder

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
PAIRS = [{"query": one.short, "document": one.long} for one in sample()]


def made(**arguments):
    data = TextDataModule(
        **{"train": PAIRS, "tokenizer": TextTokenizer(vocab_size=600, max_length=64), "batch_size": 8, **arguments}
    )
    data.setup()
    return data


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return TextEncoder(config=SMALL).eval()


def test_pooling_wherever_the_padding_is():
    states = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    assert pooled(states, mask, "mean").tolist() == [[1, 2], [9, 10]]
    assert pooled(states, mask, "cls").tolist() == [[0, 1], [8, 9]]
    assert pooled(states, mask, "last").tolist() == [[2, 3], [10, 11]]
    assert not pooled(states, torch.zeros_like(mask), "cls").any()


class TestTokenizer:
    def test_words_and_pieces(self):
        tokenizer = TextTokenizer(vocab_size=200)
        with pytest.raises(ValueError, match="call learn"):
            tokenizer(["a"])
        tokenizer.learn(["the c++ map of the town", "the map"])
        found = tokenizer.fast.convert_ids_to_tokens(tokenizer(["The C++ (map) mapo"])["input_ids"][0])
        assert found == ["[CLS]", "the", "c++", "map", "map", "##o", "[SEP]"]

    def test_cut_texts_are_counted_and_told_of_once(self, recwarn):
        tokenizer = TextTokenizer(vocab_size=200, max_length=4)
        tokenizer.learn(["a b c"])
        assert tokenizer(["a b"])["input_ids"].shape == (1, 4)
        assert tokenizer.cut == 0
        with pytest.warns(UserWarning, match="1 of the first 3 texts have more than max_length=4"):
            assert tokenizer(["a b c", "a"])["attention_mask"].sum(1).tolist() == [4, 3]
        recwarn.clear()
        tokenizer(["a b c", "a a a"])
        assert not recwarn.list
        assert (tokenizer.cut, tokenizer.texts) == (3, 5)

    @pytest.mark.filterwarnings("ignore:.*have more than max_length=3")
    def test_prompts_are_read_and_not_pooled(self, encoder):
        tokenizer = TextTokenizer(vocab_size=200, max_length=7)
        tokenizer.learn(["query: the cat went far"] * 3)
        collate = TextCollate(tokenizer, "query: ", include_prompt=False)
        items = [{"query": "the cat went", "document": "far"}, {"query": "cat", "document": "the far"}]
        batch = collate(items)
        words = [tokenizer.fast.convert_ids_to_tokens(ids) for ids in batch["query"]["input_ids"]]
        assert words[0] == ["[CLS]", "query", "the", "cat", "went", "[SEP]"]
        assert batch["query"]["pooling_mask"].tolist() == [[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0]]
        assert torch.equal(batch["document"]["pooling_mask"], batch["document"]["attention_mask"]), "no prompt"
        states = encoder.states(batch["query"]["input_ids"], batch["query"]["attention_mask"])
        torch.testing.assert_close(encoder(batch["query"])[1], states[1, 2:4].mean(0))
        short = TextTokenizer(vocab_size=200, max_length=3)
        short.learn(["query: the cat went far"])
        assert short(["query: cat", "cat"], [7, 0])["pooling_mask"].tolist() == [[1, 1, 1]] * 2, "cut off"
        views = collate([{"views": ["the cat", "far"]}, {"views": ["cat", "went"]}])["views"]
        assert [view["pooling_mask"].sum(1).tolist() for view in views] == [[3, 2], [2, 2]]
        with pytest.raises(ValueError, match="use a TextTokenizer"):
            TextDataModule(train=PAIRS, tokenizer=HashedWords(), include_prompt=False).collate

    def test_no_tokenizer_there(self, tmp_path):
        with pytest.raises(ValueError, match="finds no tokenizer"):
            TextTokenizer(model=str(tmp_path))


class TestEncoder:
    def test_padding_does_not_count(self, encoder):
        ids, mask = torch.tensor([[2, 9, 8, 3]]), torch.ones(1, 4, dtype=torch.int64)
        wide = {"input_ids": torch.tensor([[2, 9, 8, 3, 7, 7]]), "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0]])}
        torch.testing.assert_close(encoder(wide), encoder({"input_ids": ids, "attention_mask": mask}))

    def test_dropout_makes_views(self):
        encoder = TextEncoder(config=SMALL)
        tokens = {"input_ids": torch.tensor([[2, 9, 3]] * 2), "attention_mask": torch.ones(2, 3, dtype=torch.int64)}
        assert encoder.training
        assert not torch.equal(*encoder(tokens))
        torch.testing.assert_close(*TextEncoder(config=SMALL, dropout=0.0)(tokens))

    def test_wrong_input(self, encoder):
        with pytest.raises(ValueError, match="input_ids and attention_mask"):
            encoder(torch.zeros(2, 3))
        ones = torch.ones(1, 3, dtype=torch.int64)
        with pytest.raises(ValueError, match="the same vocab_size"):
            encoder({"input_ids": ones * 600, "attention_mask": ones})
        long = torch.ones(1, 129, dtype=torch.int64)
        with pytest.raises(ValueError, match="set max_length=128"):
            encoder({"input_ids": long, "attention_mask": long})
        for wrong in (
            {"pooling": "max"},
            {"dropout": 1.0},
            {"model": "a", "config": {}},
            {"config": {"model_type": "?"}},
        ):
            with pytest.raises(ValueError, match=r"must be|must lie|leave config|cannot make"):
                TextEncoder(**wrong)


class TestData:
    def test_pairs(self):
        data = made()
        batch = next(iter(data.train_dataloader()))
        check_batch(batch)
        assert set(batch) == {"query", "document", "index", "query_id", "document_id"}
        rows = [data._sets[name].rows for name in ("train", "val", "test") if name in data._sets]
        assert sum(map(len, rows)) == len(PAIRS)
        texts = [{text.lower() for text in [*part.query, *part.document]} for part in rows]
        assert not any(one & other for place, one in enumerate(texts) for other in texts[:place])
        assert len(data.corpus_dataloader().dataset) == len({" ".join(p["document"].lower().split()) for p in PAIRS})

    def test_asked_before_set_up(self):
        data = TextDataModule(train=PAIRS, tokenizer=TextTokenizer(vocab_size=600))
        assert hasattr(data, "corpus_dataloader")
        again = TextDataModule(train=PAIRS, tokenizer=TextTokenizer(vocab_size=600))
        assert torch.equal(again.query_inputs(["a map"])["input_ids"], data.query_inputs(["a map"])["input_ids"])

    def test_single_texts(self):
        data = made(train=[pair["document"] for pair in PAIRS])
        batch = next(iter(data.train_dataloader()))
        first, second = batch["views"]
        assert torch.equal(first["input_ids"], second["input_ids"])
        assert not hasattr(data, "corpus_dataloader")
        data = made(unpaired=True, view=WordRepetition(1.0), both_views=False)
        first, second = next(iter(data.train_dataloader()))["views"]
        assert first["input_ids"].shape == second["input_ids"].shape
        assert (first["attention_mask"].sum(1) <= second["attention_mask"].sum(1)).all()
        assert hasattr(data, "corpus_dataloader")

    @pytest.mark.filterwarnings("ignore::UserWarning")  # train is val here
    def test_negatives_stand_behind_their_row(self):
        rows = [("q", "d", "a b", "c"), ("r", "e", "c", "a")]
        data = made(train=rows, val=rows, batch_size=2, tokenizer=TextTokenizer(vocab_size=100))
        batch = next(iter(data.bank_dataloader()))
        words = [data.tokenizer.fast.decode(ids, skip_special_tokens=True) for ids in batch["negative"]["input_ids"]]
        assert words == ["a b", "c", "c", "a"]

    def test_queries_without_positives(self):
        with pytest.raises(TextDataError, match="1 of 2 queries have no positive in any split, such as '8'"):
            made(
                train=[{"query_id": 7, "document": "d"}],
                queries=[{"id": 7, "text": "a"}, {"id": 8, "text": "b"}],
            )

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_bm25_reads_words(self):
        data = made(train=PAIRS, val=PAIRS[:9], test=PAIRS[:9])
        assert search(data, None)(data.val_dataloader())["ndcg@10"] > 0.3


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_trained_and_opened_elsewhere(tmp_path):
    for pooling, normalize in (("cls", True), ("last", False), ("mean", False)):
        data = made(query_prompt="query: ", document_prompt="text: ", include_prompt=pooling != "last")
        encoder = TextEncoder(config=SMALL, pooling=pooling, normalize=normalize)
        module = ContrastiveModule(encoder, InfoNCE(temperature=0.05))
        if pooling == "mean":
            trainer = pl.Trainer(
                max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, limit_val_batches=1,
            )  # fmt: skip
            before = [p.clone() for p in module.parameters()]
            trainer.fit(module, datamodule=data)
            changed = [not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True)]
            assert all(changed), "nothing is idle, so that distributed training works"
        shipped = Shipped(module.eval(), "document")
        write_text_folder(tmp_path / pooling, shipped, data)
        for side in ("query", "document"):
            for found, wanted in differences(tmp_path / pooling, shipped, data, side):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        again = TextEncoder(str(tmp_path / pooling))
        opened = TextDataModule(train=PAIRS, tokenizer=TextTokenizer(model=str(tmp_path / pooling)), document_prompt="")
        assert (opened.query_prompt, opened.document_prompt) == ("query: ", ""), "what is said here counts"
        assert opened.include_prompt == (pooling != "last")
        assert (again.pooling, again.normalize) == (pooling, normalize)
    steps = json.loads((tmp_path / "cls" / "modules.json").read_text())
    assert [step["path"] for step in steps] == ["", "1_Pooling", "2_Normalize"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_batches_by_length_are_padded_less():
    padded = []
    for grouped in (False, True):
        masks = [batch["document"]["attention_mask"] for batch in made(group_by_length=grouped).train_dataloader()]
        padded.append(sum(int((mask == 0).sum()) for mask in masks))
    assert padded[1] < padded[0] * 0.7
