"""A bag of words that starts from a table of vectors, with the tokenizer that numbers its rows."""

import json

import numpy as np
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli import export
from lightning_contrast.cli.evaluate import opened
from lightning_contrast.cli.shipped import Shipped
from lightning_contrast.data import TextTokenizer
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.objectives import InfoNCE
from tests.data.packages import sample

WIDTH = 8


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """An installed Python package with a table and a tokenizer, whose token 0 is a word."""
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("site") / "toy_vectors"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('files alone are read')")
    words = ["a", "[BEGIN]", "[UNK]", *sorted({w for one in sample() for w in one.long.lower().split()} - {"a"})]
    numbers = {word: number for number, word in enumerate(words)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.Lowercase()
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[BEGIN] $A", special_tokens=[("[BEGIN]", 1)])
    made.save(str(folder / "tokenizer.json"))
    np.savez(folder / "vectors.npz", vectors=np.random.default_rng(0).normal(size=(len(words), WIDTH)))
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder.parent))
        yield "package:toy_vectors", words, torch.from_numpy(np.load(folder / "vectors.npz")["vectors"]).float()


def test_a_text_is_the_mean_of_the_rows_of_its_tokens(package):
    place, words, table = package
    encoder = BagOfWords(table=f"{place}/vectors.npz")
    assert (encoder.embedding.num_embeddings, encoder.output_dim) == (len(words), WIDTH)
    tokenizer = TextTokenizer(f"{place}/tokenizer.json", special_tokens=False)
    songs = words.index("songs,")
    found = encoder(tokenizer(["a songs,", "a a Songs,", "songs,", "nobodyknowsthis"]))
    torch.testing.assert_close(found[0], (table[0] + table[songs]) / 2)
    torch.testing.assert_close(found[1], (2 * table[0] + table[songs]) / 3)
    torch.testing.assert_close(found[2:], table[[songs, 2]])
    begun = encoder(TextTokenizer(f"{place}/tokenizer.json")(["songs,"]))
    torch.testing.assert_close(begun[0], (table[1] + table[songs]) / 2)
    found[0].sum().backward()
    assert encoder.embedding.weight.grad[0].tolist() == [0.5] * WIDTH, "token 0 is a word, and trains"
    none = {"input_ids": torch.zeros(2, 0, dtype=torch.int64), "attention_mask": torch.zeros(2, 0, dtype=torch.int64)}
    assert encoder(none).tolist() == [[0.0] * WIDTH] * 2


def test_other_numbers_than_the_table_has(package):
    place, words, _ = package
    with pytest.raises(ValueError, match=f"has {len(words)} rows of {WIDTH}"):
        BagOfWords(words=5, table=f"{place}/vectors.npz")
    with pytest.raises(ValueError, match=f"has {len(words)} rows of {WIDTH}"):
        BagOfWords(output_dim=5, table=f"{place}/vectors.npz")


@pytest.mark.parametrize("end", ["there.json", "wrong.json"])
def test_no_tokenizer(end, tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "wrong.json").write_text('{"model": 3}')
    with pytest.raises(ValueError, match=r"no such file|no tokenizer of the library"):
        TextTokenizer(str(tmp_path / end))


@pytest.mark.filterwarnings("ignore:.*are in train as well")
def test_trains_by_command_and_opens_again(package, shell, tmp_path):
    place, words, table = package
    lines = [json.dumps({"query": one.short, "document": one.long}) + "\n" for one in sample()[:40]]
    (tmp_path / "pairs.jsonl").write_text("".join(lines))
    shell.fit(
        "--config=text-search", "--data=TextDataModule", "--data.batch_size=16", "--trainer.max_steps=2",
        *(f"--data.{split}={tmp_path / 'pairs.jsonl'}" for split in ("train", "val", "test")),
        "--data.tokenizer=TextTokenizer", f"--data.tokenizer.model={place}/tokenizer.json",
        "--data.tokenizer.special_tokens=false", f"--model.encoder.table={place}/vectors.npz",
        f"--model.encoder.words={len(words)}", f"--model.encoder.output_dim={WIDTH}", "--trainer.callbacks=[]",
    )  # fmt: skip
    (checkpoint,) = shell.root.rglob("last.ckpt")
    cli = opened(checkpoint, [])
    weight = cli.model.encoder.embedding.weight.detach()
    seen = torch.zeros(len(words), dtype=torch.bool)
    for batch in cli.datamodule.bank_dataloader():
        for side in ("query", "document"):
            seen[batch[side]["input_ids"][batch[side]["attention_mask"] == 1]] = True
    assert not torch.equal(weight[seen], table[seen]), "it has learned"
    assert torch.equal(weight[~seen], table[~seen]), "and only what it has read"
    assert not seen[1], "the special token is left out"


@pytest.mark.slow
def test_exported_it_embeds_the_same(package, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pytest.importorskip("safetensors")
    place = package[0]
    shipped = Shipped(ContrastiveModule(BagOfWords(table=f"{place}/vectors.npz"), InfoNCE()).eval())
    tokens = TextTokenizer(f"{place}/tokenizer.json")(["a calendar viewer - library", "a", "the"])
    for write, end in ((export.to_onnx, "onnx"), (export.to_safetensors, "safetensors")):
        assert write(shipped, tokens, tmp_path / f"bag.{end}", {}) <= 1e-6
