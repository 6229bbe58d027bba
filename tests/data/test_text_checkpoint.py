"""Words that were learned from texts travel in the checkpoint."""

import json
import re

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.main import main
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.data.embedding_table import read_embeddings
from lightning_contrast.encoders import TextEncoder
from tests.data.packages import sample

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
PAIRS = [{"query": one.short, "document": one.long} for one in sample()]
OTHERS = [{"query": f"zebra{n} stripes", "document": f"quagga{n} grass, zebra stripes"} for n in range(60)]


def data_of(rows):
    return TextDataModule(train=rows, tokenizer=TextTokenizer(vocab_size=600, max_length=32), batch_size=8)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run by the command line, and its texts."""
    root = tmp_path_factory.mktemp("words")
    tokenizer = {"class_path": "TextTokenizer", "init_args": {"vocab_size": 600, "max_length": 32}}
    config = {
        "trainer": {
            "max_steps": 2, "precision": "32-true", "enable_progress_bar": False, "enable_model_summary": False,
            "limit_val_batches": 1,
        },
        "model": {"encoder": {"class_path": "TextEncoder", "init_args": {"config": CONFIG}}},
        "data": {
            "class_path": "TextDataModule",
            "init_args": {"train": str(write(root / "p.jsonl", PAIRS)), "batch_size": 8, "tokenizer": tokenizer},
        },
    }  # fmt: skip
    (root / "c.yaml").write_text(json.dumps(config))
    assert main(["fit", "--config", str(root / "c.yaml"), "--trainer.default_root_dir", str(root / "runs")]) == 0
    (checkpoint,) = root.glob("runs/**/last.ckpt")
    return root, checkpoint


@pytest.mark.filterwarnings("ignore::UserWarning")  # texts are cut, some of them are in both splits
def test_evaluation_reads_with_the_trained_words(run, tmp_path, capsys):
    _, checkpoint = run
    held = torch.load(checkpoint, weights_only=True)
    vocabulary = held["TextDataModule"]["tokenizer"]["vocabulary"]
    capsys.readouterr()
    results = []
    # other texts to train on, of which other words would be learned; what is evaluated stays
    write(tmp_path / "held.jsonl", PAIRS[:40])
    for train in (PAIRS, OTHERS):
        asked = [
            "--data.train",
            str(write(tmp_path / "t.jsonl", train)),
            *(f"--data.{n}={tmp_path}/held.jsonl" for n in ("val", "test")),
        ]
        assert (
            main(["embed", "--ckpt_path", str(checkpoint), "--split", "test", "--out", str(tmp_path / "e.npz"), *asked])
            == 0
        )
        results.append(torch.from_numpy(read_embeddings(tmp_path / "e.npz").embedding))
    torch.testing.assert_close(*results, rtol=0, atol=0)
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert not any("quagga" in token for token in vocabulary)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pairs_with_scores_are_evaluated_by_spearman(run, tmp_path, capsys):
    _, checkpoint = run
    scored = [{**row, "score": number % 4 / 2} for number, row in enumerate(PAIRS)]
    sources = [f"--data.{n}={write(tmp_path / f'{n}.jsonl', scored[:30])}" for n in ("train", "val", "test")]
    capsys.readouterr()
    assert main(["evaluate", "--ckpt_path", str(checkpoint), "--json", *sources]) == 0
    rows = json.loads(capsys.readouterr().out)["results"]
    assert -1 <= rows["this encoder"]["spearman"] <= 1
    assert rows["this encoder"]["spearman"] != rows["untrained encoder"]["spearman"]
    assert "spearman" not in rows.get("BM25", {})
    assert main(["evaluate", "--ckpt_path", str(checkpoint), *sources]) == 0
    assert "spearman" in capsys.readouterr().out


def test_without_words_it_is_refused(run, tmp_path, capsys):
    _, checkpoint = run
    held = torch.load(checkpoint, weights_only=True)
    del held["TextDataModule"]
    lost = checkpoint.with_name("lost.ckpt")
    torch.save(held, lost)
    assert main(["evaluate", "--ckpt_path", str(lost)]) == 2
    assert "it holds no words" in re.sub(r"\s+", " ", capsys.readouterr().err)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_resumed_on_changed_texts(tmp_path):
    def trained(rows, steps, ckpt=None):
        torch.manual_seed(0)
        module = ContrastiveModule(TextEncoder(config={**CONFIG}))
        trainer = pl.Trainer(
            max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0, default_root_dir=tmp_path,
        )  # fmt: skip
        data = data_of(rows)
        trainer.fit(module, datamodule=data, ckpt_path=ckpt)
        return trainer, data

    trainer, data = trained(PAIRS, 1)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    wanted = data.tokenizer(["a chess game"])["input_ids"]
    with pytest.warns(UserWarning, match="The checkpoint's are used"):
        _, again = trained(OTHERS, 2, tmp_path / "one.ckpt")
    assert torch.equal(again.tokenizer(["a chess game"])["input_ids"], wanted)
    assert again.tokenizer.state_dict() == data.tokenizer.state_dict()


def test_other_kinds_of_tokenizer_are_refused(tmp_path):
    data = data_of(PAIRS)
    data.setup()
    data.tokenizer.save(tmp_path)
    opened = TextTokenizer(model=str(tmp_path))
    assert opened.state_dict() == {}
    with pytest.raises(ValueError, match="leave model out"):
        opened.load_state_dict(data.tokenizer.state_dict())
    with pytest.raises(ValueError, match="give that model"):
        TextTokenizer().load_state_dict(opened.state_dict())
    other = TextDataModule(train=PAIRS, tokenizer=len)
    with pytest.raises(ValueError, match="give a TextTokenizer"):
        other.load_state_dict(data.state_dict())
