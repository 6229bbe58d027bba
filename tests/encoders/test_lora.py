"""Adapters alone are trained, with Matryoshka and chunks; the folder has them merged and opens without peft."""

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.cli.shipped import Shipped
from lightning_contrast.cli.text_folder import differences, write_text_folder
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.objectives import InfoNCE, Matryoshka
from tests.data.packages import sample

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
PAIRS = [{"query": one.short, "document": one.long} for one in sample()[:80]]


@pytest.fixture(scope="module")
def data():
    made = TextDataModule(train=PAIRS, tokenizer=TextTokenizer(vocab_size=600, max_length=32), batch_size=8)
    made.setup()
    return made


def module(**arguments):
    torch.manual_seed(0)
    encoder = TextEncoder(config=CONFIG, dropout=0.0, lora={"r": 4, "lora_alpha": 8})
    return ContrastiveModule(encoder, Matryoshka(InfoNCE(0.05), [4, 16]), **arguments)


@pytest.mark.filterwarnings("ignore:.*have more than max_length.*")
def test_trained_merged_and_opened(data, tmp_path):
    made, chunked = module(), module(chunk_tokens=100)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    batch = next(iter(data.train_dataloader()))
    for one in (made, chunked):
        optimizer = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], lr=1.0)
        for _ in range(2):  # B begins at 0, so that A moves in the second step only
            optimizer.zero_grad()
            one.training_step(batch).backward()
            optimizer.step()
    moved = {name for name, p in made.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "lora_" in name} != set()
    for one, other in zip(made.parameters(), chunked.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)
    shipped = Shipped(made.eval())
    write_text_folder(tmp_path / "folder", shipped, data)
    for found, wanted in differences(tmp_path / "folder", shipped, data, "query"):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    opened = TextEncoder(str(tmp_path / "folder"))
    assert not [name for name, _ in opened.named_parameters() if "lora" in name or "base_layer" in name]
    untrained = TextEncoder(config=CONFIG, dropout=0.0)
    untrained.transformer.load_state_dict(
        {
            n.removeprefix("encoder.transformer.").replace("base_layer.", ""): p
            for n, p in before.items()
            if "lora_" not in n
        },
        strict=False,
    )
    tokens = batch["query"]
    assert not torch.allclose(opened.eval()(tokens), untrained.eval()(tokens), atol=1e-4), "adapters did something"


def test_misuse():
    for wrong in (
        {"r": 0},
        {"rank": 8},
        {"r": 2, "target_modules": ["nothing"]},
        {"r": 2, "modules_to_save": ["pooler"]},
    ):
        with pytest.raises(ValueError, match="lora="):
            TextEncoder(config=CONFIG, lora=wrong)
