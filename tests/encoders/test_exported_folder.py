"""A small random transformer as a folder and as a graph: the same embeddings elsewhere, or a reason why not."""

import json

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.errors import UserError
from lightning_contrast.cli.export import to_onnx
from lightning_contrast.cli.shipped import Shipped
from lightning_contrast.cli.text_folder import differences, write_text_folder
from lightning_contrast.data import HashedWords, TextDataModule, TextTokenizer
from lightning_contrast.encoders import BagOfWords, LatentAttention, TextEncoder
from lightning_contrast.heads import MLPHead
from tests.data.packages import sample

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
PAIRS = [{"query": one.short, "document": one.long} for one in sample()[:40]]
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*have more than max_length.*", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def data():
    tokenizer = TextTokenizer(vocab_size=600, max_length=24)
    made = TextDataModule(PAIRS, tokenizer=tokenizer, query_prompt="find: ", document_prompt="passage: ", batch_size=8)
    made.setup()
    return made


def shipped(pooling="mean", normalize=False, **arguments):
    torch.manual_seed(0)
    return Shipped(
        ContrastiveModule(TextEncoder(config=CONFIG, pooling=pooling), **arguments).eval(), normalize=normalize
    )


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("cls", False), ("last", True)])
def test_sentence_transformers_embeds_the_same(data, tmp_path, pooling, normalize):
    pytest.importorskip("sentence_transformers")
    made = shipped(pooling, normalize)
    write_text_folder(tmp_path / "folder", made, data)
    for side in ("query", "document"):
        pairs = differences(tmp_path / "folder", made, data, side)
        assert len(pairs) == 2, "by this package and by sentence-transformers"
        for found, wanted in pairs:
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        assert not normalize or torch.allclose(wanted.norm(dim=1), torch.ones(len(wanted)))
    held = json.loads((tmp_path / "folder" / "config_sentence_transformers.json").read_text())
    assert held["prompts"] == {"query": "find: ", "document": "passage: "}


def test_opened_again_it_says_how_it_pools(data, tmp_path):
    write_text_folder(tmp_path / "folder", shipped("last", True), data)
    again = TextEncoder(model=str(tmp_path / "folder"))
    assert (again.pooling, again.normalize) == ("last", True)
    tokenizer = TextTokenizer(model=str(tmp_path / "folder"))
    assert tokenizer.max_length == 24
    assert TextDataModule(PAIRS, tokenizer=tokenizer).query_prompt == "find: "


@pytest.mark.parametrize("pooling", [pytest.param("cls", marks=pytest.mark.slow), "last"])
def test_onnxruntime_embeds_the_same(data, tmp_path, pooling):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = shipped(pooling, True)
    texts = [row["query"] for row in PAIRS]
    assert to_onnx(made, data.tokenizer(texts[:4]), tmp_path / "m.onnx", {}) <= 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    tokens = data.tokenizer(texts[4:15])  # other texts, as many and as long as they are
    (found,) = session.run(None, {name: value.numpy() for name, value in tokens.items()})
    torch.testing.assert_close(torch.from_numpy(found), made(tokens).detach(), atol=1e-5, rtol=0)


def latent():
    return LatentAttention(config=CONFIG, latents=4, heads=2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Shipped(ContrastiveModule(BagOfWords(words=500, output_dim=8))),
            "BagOfWords .* use .safetensors or .onnx",
        ),
        (lambda: Shipped(ContrastiveModule(latent())), "LatentAttention"),
        (
            lambda: Shipped(ContrastiveModule(TextEncoder(config=CONFIG), head=MLPHead([16], 8)), space="embedding"),
            "--head",
        ),
    ],
)
def test_what_a_folder_cannot_hold_is_refused(data, tmp_path, make, words):
    with pytest.raises(UserError, match=words):
        write_text_folder(tmp_path / "folder", make(), data)
    assert not (tmp_path / "folder").exists()


def test_without_a_tokenizer_of_its_own(tmp_path):
    bare = TextDataModule(PAIRS, tokenizer=HashedWords(words=600))
    with pytest.raises(UserError, match="on data with a TextTokenizer"):
        write_text_folder(tmp_path / "folder", shipped(), bare)
