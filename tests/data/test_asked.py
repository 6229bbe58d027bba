"""A user's functions write and score: asked once, kept, gone on from (syncse, claif, llm-hn)."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import ContrastCallback
from lightning_contrast.cli.trainer import ContrastiveCLI
from lightning_contrast.data import (
    HashedWords,
    RewrittenQueries,
    ScoredBy,
    ScoredPairs,
    TextDataModule,
    WordOverlap,
    WrittenBy,
)
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.modules.inputs import Inputs, with_negatives_known
from lightning_contrast.objectives import InfoNCE
from tests.data import own_writers
from tests.data.own_writers import ASKED
from tests.data.packages import write_sample
from tests.recipes.test_recipes import QUICK

OWN = "tests.data.own_writers."
PAIRS = [{"query": f"who built the {'bridge' if i % 2 else 'house'} {i}", "document": f"mason {i}"} for i in range(40)]
HELD = [{"query": f"who found the bridge {i}", "document": f"finder {i}"} for i in range(8)]


@pytest.fixture(autouse=True)
def nothing_asked():
    ASKED.clear()


def pairs():
    return TextDataModule(PAIRS, val=HELD, test=HELD)


def test_each_text_is_asked_once_and_its_answer_kept(tmp_path):
    file = str(tmp_path / "new" / "a.jsonl")
    writer = WrittenBy(own_writers.contradict, file)
    assert writer.answers([("a bridge",), ("a house",), ("a bridge",)]) == ["a tower", "", "a tower"]
    assert writer("a bridge") == "a tower"
    assert writer("a house") == "a house", "as a view, what nothing is written for stays as it is"
    assert ASKED == ["a bridge", "a house"]
    again = WrittenBy(OWN + "contradict", file)
    assert again.answers([("a bridge",), ("my bridge",)]) == ["a tower", "my tower"]
    assert ASKED == ["a bridge", "a house", "my bridge"]


def test_of_two_processes_that_asked_the_same_the_first_answer_counts_for_both(tmp_path):
    file, draws = str(tmp_path / "a.jsonl"), iter(["one", "two"])
    first, second = (WrittenBy(own_writers.contradict, file) for _ in range(2))
    for writer in (first, second):
        writer.function = lambda text: next(draws)
        writer._read()  # before either has asked
    assert (first("a"), second("a")) == ("one", "two")
    data = RewrittenQueries(TextDataModule([("a", "b")]), edit=second, keep_documents=True)
    data.prepare_data()
    assert second("a") == WrittenBy(own_writers.contradict, file)("a") == "one"


def test_an_interrupted_run_goes_on(tmp_path):
    file, seen = tmp_path / "a.jsonl", []

    def write(text):
        if text == "c" and seen.count("c") == 0:
            seen.append(text)
            raise KeyboardInterrupt
        seen.append(text)
        return text.upper()

    texts = [("a",), ("b",), ("c",), ("d",)]
    with pytest.raises(KeyboardInterrupt):
        WrittenBy(write, str(file)).answers(texts)
    # killed in the middle of a line
    whole = file.read_bytes()
    assert whole.count(b"\n") == 2
    file.write_bytes(whole[:-5])
    with pytest.warns(UserWarning, match="line 2 is cut off"):
        assert WrittenBy(write, str(file)).answers(texts) == ["A", "B", "C", "D"]
    assert seen == ["a", "b", "c", "b", "c", "d"]
    with pytest.warns(UserWarning, match="line 2 is cut off"):
        assert WrittenBy(write, str(file)).answers(texts) == ["A", "B", "C", "D"]
    assert len(seen) == 6


def test_many_at_once(tmp_path):
    sizes = []

    def write(texts):
        sizes.append(len(texts))
        return [text.upper() for text in texts]

    writer = WrittenBy(write, str(tmp_path / "a.jsonl"), batch_size=3)
    assert writer.answers([(c,) for c in "abcdefga"]) == list("ABCDEFGA")
    assert sizes == [3, 3, 1]
    scorer = ScoredBy(lambda both: [len(a + b) for a, b in both], str(tmp_path / "s.jsonl"), batch_size=2)
    assert scorer.answers([("a", "bc"), ("d", "e")]) == [3.0, 2.0]
    short = WrittenBy(lambda texts: texts[1:], str(tmp_path / "b.jsonl"), batch_size=3)
    with pytest.raises(TextDataError, match="gave 1 answers for 2 texts"):
        short.answers([("a",), ("b",)])


@pytest.mark.parametrize(
    ("kind", "function", "message"),
    [
        (WrittenBy, lambda text: 7, "wrote int 7; it must write a text"),
        (ScoredBy, lambda one, two: "high", "gave 'high'; a score must be a finite number"),
        (ScoredBy, lambda one, two: float("nan"), "gave nan; a score must be a finite number"),
        (WrittenBy, lambda text: 1 / 0, "failed for 'a': ZeroDivisionError: division by zero.*start again to go on"),
    ],
)
def test_wrong_answers_are_not_kept(tmp_path, kind, function, message):
    file = tmp_path / "a.jsonl"
    with pytest.raises(TextDataError, match=message):
        kind(function, str(file)).answers([("a",) if kind is WrittenBy else ("a", "b")])
    assert not file.exists()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere.at.all", "No module named 'nowhere'"),
        (OWN + "absent", "has no 'absent'"),
        (OWN + "NOBODY", "must be the import path of a function"),
        ("lonely", "must be the import path of a function"),
    ],
)
def test_paths_without_a_function(function, message):
    with pytest.raises(ValueError, match=message):
        WrittenBy(function, "a.jsonl")


def test_other_misuse(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.jsonl"):
        WrittenBy(str.upper, "a.txt")
    with pytest.raises(ValueError, match="batch_size=0"):
        WrittenBy(str.upper, "a.jsonl", 0)
    file = str(tmp_path / "a.jsonl")
    WrittenBy(str.upper, file)("a")
    with pytest.raises(
        TextDataError, match=r"line 1 is an answer of .*str\.upper, not of .*str\.lower: give another file"
    ):
        WrittenBy(str.lower, file)("a")
    with pytest.raises(ValueError, match="a paraphrase is not asked"):
        RewrittenQueries(pairs(), str.upper, keep_documents=True)
    with pytest.raises(TextDataError, match="single texts"):
        ScoredPairs(TextDataModule([{"text": "a"}])).read()
    with pytest.raises(TextDataError, match="single texts have no documents"):
        RewrittenQueries(TextDataModule([{"text": "a"}]), keep_documents=True, edit=str.upper).read()


class TestRewritten:
    def test_asked_before_training_on_one_process(self, tmp_path):
        near = WrittenBy(OWN + "agree", str(tmp_path / "near.jsonl"), batch_size=16)
        data = RewrittenQueries(pairs(), near, WrittenBy(OWN + "contradict", str(tmp_path / "far.jsonl")))
        data.prepare_data()
        asked = {row["query"] for row in PAIRS + HELD}
        assert sorted(ASKED) == sorted([*asked, *asked])
        ASKED.clear()
        rows = data.read()[0]["train"]
        assert not ASKED
        assert rows.document == [row["query"].replace("built", "made") for row in PAIRS]
        far = [row["query"].replace("bridge", "tower") if "bridge" in row["query"] else "" for row in PAIRS]
        assert rows.negative == [[text] for text in far]

    def test_a_negative_for_every_pair_or_none(self, tmp_path):
        edit = WrittenBy(OWN + "contradict", str(tmp_path / "far.jsonl"))
        data = RewrittenQueries(pairs(), edit=edit, keep_documents=True, tokenizer=HashedWords(512), batch_size=8)
        rows = data.read()[0]["train"]
        assert rows.document == [row["document"] for row in PAIRS]
        data.setup()
        batch = next(iter(data.train_dataloader()))
        assert batch["has_negative"].shape == (8, 1)
        for number, there in zip(batch["index"].tolist(), batch["has_negative"].flatten().tolist(), strict=True):
            assert there == ("bridge" in PAIRS[number]["query"])

    def test_nothing_written_at_all(self, tmp_path):
        silent = WrittenBy(lambda text: None, str(tmp_path / "n.jsonl"))
        with pytest.raises(TextDataError, match="of 40 texts none has a paraphrase"):
            RewrittenQueries(pairs(), silent, str.upper).read()


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_negative_that_is_not_there_is_no_candidate(in_batch):
    """llm-hn: empty negatives fall back to those of the batch."""
    torch.manual_seed(0)
    rows = [{**row, "negative": None if i % 3 else f"the sea {i}"} for i, row in enumerate(PAIRS)]
    data = TextDataModule(rows, val=HELD, test=HELD, tokenizer=HashedWords(512), batch_size=8)
    data.setup()
    module = ContrastiveModule(BagOfWords(512, 8), InfoNCE(0.3), in_batch=in_batch)
    batch = next(iter(data.train_dataloader()))
    contrast = module.contrast(batch)
    there = batch["has_negative"].flatten().bool()
    assert 0 < there.sum() < 8
    exists = contrast.replace(similarity=None).scores().exists
    seen = exists[:, -8:] if in_batch else exists[:, -1]
    assert torch.equal(seen, there.expand(8, 8) if in_batch else there)
    nobody = module.contrast({**batch, "has_negative": torch.zeros(8, 1, dtype=torch.int64)})
    bare = module.contrast({key: value for key, value in batch.items() if "negative" not in key})
    for path in ("dense", "tiles"):
        module.objective.path = path
        torch.testing.assert_close(module.objective(nobody), module.objective(bare))
    with pytest.raises(ValueError, match=r"batch\['has_negative'\] is \[2\]"):
        with_negatives_known(contrast, Inputs(has_negative=torch.ones(2, dtype=torch.int64)))


def test_pairs_are_scored(tmp_path):
    rows = ScoredPairs(pairs()).read()[0]["train"]
    assert rows.known["score"] == [WordOverlap()(row["query"], row["document"]) for row in PAIRS]
    data = ScoredPairs(pairs(), ScoredBy(OWN + "alike", str(tmp_path / "s.jsonl")), tokenizer=HashedWords(512))
    data.prepare_data()
    assert len(ASKED) == 48
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert len(ASKED) == 48
    assert batch["score"].tolist() == pytest.approx(
        [own_writers.alike(PAIRS[i]["query"], PAIRS[i]["document"]) for i in batch["index"].tolist()]
    )


def test_from_the_command_line(tmp_path):
    """A function of one's own by its path; what a checkpoint holds of the data is plain."""
    held = {"class_path": "TextDataModule", "init_args": {"train": str(tmp_path / "p.jsonl")}}
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    args = [
        "--data=ScoredPairs", "--data.score=ScoredBy", f"--data.score.function={OWN}alike",
        f"--data.score.file={tmp_path}/s.jsonl", "--data.tokenizer=HashedWords", "--data.tokenizer.words=512",
        "--data.batch_size=8", "--model.encoder=BagOfWords", "--model.encoder.words=512", "--model.objective=ScoredInfoNCE",
        "--data.pairs_of=" + json.dumps({
            "class_path": "RewrittenQueries", "init_args": {
                "queries_of": held, "keep_documents": True, "edit": {"class_path": "WrittenBy", "init_args": {
                    "function": OWN + "contradict", "file": f"{tmp_path}/far.jsonl"}}}}),
        "--trainer.max_steps=2", "--trainer.logger=false", "--trainer.enable_checkpointing=false",
        "--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={tmp_path}",
    ]  # fmt: skip
    cli = ContrastiveCLI(args=args, run=False)
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2
    assert len((tmp_path / "far.jsonl").read_text().splitlines()) == 40
    cli.trainer.save_checkpoint(tmp_path / "c.ckpt")
    torch.load(tmp_path / "c.ckpt", weights_only=True)


def test_from_python_a_checkpoint_is_plain(tmp_path):
    data = RewrittenQueries(pairs(), str.upper, str.lower, tokenizer=HashedWords(512), batch_size=8)
    trainer = Trainer(max_steps=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    trainer.fit(ContrastiveModule(BagOfWords(512, 8)), data)
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    assert torch.load(tmp_path / "c.ckpt", weights_only=True)["datamodule_hyper_parameters"]["batch_size"] == 8


VECTORS = "vectors.npz"
OTHERS = ["--data=PackageTextDataModule", "--data.root={packages}", "--data.batch_size=8"]
SOURCES = {
    "written": ["--data.queries_of={{\"class_path\": \"PackageTextDataModule\", \"init_args\": {{\"root\": \"{packages}\"}}}}",
                "--data.edit=WrittenBy", f"--data.edit.function={OWN}contradict", "--data.edit.file={folder}/e.jsonl",
                "--data.batch_size=8"],
    "bm25": [*OTHERS, "--trainer.callbacks+=BM25Negatives", "--trainer.callbacks.num_negatives=1"],
    "teacher": [*OTHERS, "--trainer.callbacks+=HardNegativeRefresh", "--trainer.callbacks.num_negatives=1",
                "--trainer.callbacks.teacher={folder}/" + VECTORS, "--trainer.callbacks.gradient=true"],
    "column": ["--data=TextDataModule", "--data.train={folder}/p.jsonl", "--data.batch_size=8", "--trainer.callbacks=SearchEvaluation"],
}  # fmt: skip


@pytest.mark.parametrize("source", [*list(SOURCES)[:3], pytest.param("column", marks=pytest.mark.slow)])
def test_sources_of_negatives_are_settings(source, tmp_path):
    """llm-hn: written, of BM25, of a teacher or in a column, without other code."""
    packages = write_sample(tmp_path / "packages")
    rows = [{**row, "negative": None if i % 3 else f"the sea {i}"} for i, row in enumerate(PAIRS)]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    np.savez(tmp_path / VECTORS, embedding=np.random.default_rng(0).normal(size=(200, 4)), index=np.arange(200))
    args = [word.format(packages=packages, folder=tmp_path) for word in SOURCES[source]]
    cli = ContrastiveCLI(args=["--config=llm-hn", *QUICK, f"--trainer.default_root_dir={tmp_path}", *args], run=False)
    seen = {}

    class Counted(ContrastCallback):
        def on_contrast_end(self, trainer, pl_module, contrast, loss):
            seen.update({block.name: block.rows for block in contrast.candidates})

    cli.trainer.callbacks.append(Counted())
    cli.trainer.fit(cli.model, cli.datamodule)
    assert cli.trainer.global_step == 2
    assert seen["mined" if source in ("bm25", "teacher") else "negative"] > 0
