"""A transformer under torch.compile, bf16-mixed and gradient checkpointing, each with adapters too: the gradient stays."""

import copy

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.objectives import InfoNCE
from tests.data.packages import sample
from tests.modules.test_contrastive import trainer, weights

BERT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 300}
LLAMA = {
    "model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 300,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
PAIRS = [{"query": one.short, "document": one.long} for one in sample()[:24]]
ADAPTERS = {"r": 4, "target_modules": ["query", "value"]}
pytestmark = pytest.mark.filterwarnings("ignore:.*have more than max_length:UserWarning")


def texts(rows, seed, width=10):
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(2, width + 1, (rows,), generator=generator)
    length[0] = width
    mask = (torch.arange(width) < length[:, None]).long()
    return {"input_ids": torch.randint(5, 300, (rows, width), generator=generator) * mask, "attention_mask": mask}


BATCH = {"query": texts(6, 1), "document": texts(6, 2), "index": torch.arange(6)}


def module_of(lora=False, config=BERT, dropout=0.0, pooling=None, **arguments):
    torch.manual_seed(0)
    options = {key: arguments.pop(key) for key in ("gradient_checkpointing",) if key in arguments}
    adapters = ADAPTERS if lora else None
    encoder = TextEncoder(config=dict(config), dropout=dropout, lora=adapters, pooling=pooling, **options)
    if lora:  # B begins at 0, and A then has no gradient
        for name, p in encoder.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.1)
    return ContrastiveModule(encoder, InfoNCE(0.1), **arguments)


def gradients(module, autocast=False):
    torch.manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = module.training_step(BATCH)
    loss.backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    assert found
    assert not [name for name in found if module.encoder.adapted and "lora_" not in name]
    return loss.detach(), found


def assert_same(one, two, tolerance):
    assert one[1].keys() == two[1].keys()
    largest = max(float(g.abs().max()) for g in one[1].values())
    assert float((one[0] - two[0]).abs()) <= tolerance * float(one[0].abs())
    for name, wanted in one[1].items():
        assert float((wanted - two[1][name]).abs().max()) <= tolerance * largest, name


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "adapters"])
@pytest.mark.parametrize("config", [BERT, LLAMA], ids=["bert", "llama"])
def test_checkpointing_gives_the_same_gradient(config, lora, monkeypatch):
    """With dropout, whose masks are drawn again; in chunks as well, and at half the precision."""
    if config is LLAMA:
        monkeypatch.setitem(ADAPTERS, "target_modules", ["q_proj", "v_proj"])
    for options in ({}, {"chunk_tokens": 24}):
        plain = module_of(lora, config, dropout=0.2, **options)
        less = module_of(lora, config, dropout=0.2, gradient_checkpointing=True, **options)
        calls = []
        inner = [
            m for name, m in less.encoder.transformer.named_modules() if name.endswith(("1.intermediate", "1.mlp"))
        ]
        inner[0].register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))  # noqa: B023
        assert_same(gradients(plain), gradients(less), 1e-6)
        assert calls == [True] * 4 or (options and len(calls) >= 6), (
            "query and document, and both once more in backward"
        )
    assert_same(gradients(module_of(lora, config), True), gradients(module_of(lora, config, gradient_checkpointing=True), True), 1e-6)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "adapters"])
@pytest.mark.parametrize(
    "backend",
    ["eager", pytest.param("aot_eager", marks=pytest.mark.slow), pytest.param("inductor", marks=pytest.mark.slow)],
)
def test_compiled_gradient(backend, lora):
    plain = module_of(lora, gradient_checkpointing=backend == "aot_eager")
    made = copy.deepcopy(plain)
    torch._dynamo.reset()
    made.encoder.forward = torch.compile(made.encoder.forward, backend=backend, dynamic=True)
    assert_same(gradients(plain), gradients(made), 1e-5)
    plain.zero_grad()
    made.zero_grad()
    assert_same(gradients(plain, True), gradients(made, True), 2e-2)  # kernels that are fused round elsewhere


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "adapters"])
def test_fit_in_bf16(lora):
    found = []
    for precision in ("32-true", "bf16-mixed"):
        module = module_of(lora, gradient_checkpointing=True)
        module.optimizer = lambda p: torch.optim.SGD(p, lr=0.05)
        before = weights(module)
        data = TextDataModule(
            PAIRS[:16],
            val=PAIRS[16:],
            test=PAIRS[16:],
            tokenizer=TextTokenizer(vocab_size=300, max_length=16),
            batch_size=8,
        )
        t = trainer(max_steps=3, precision=precision, limit_val_batches=0)
        t.fit(module, data)
        found.append(weights(module) - before)
        assert all(p.dtype == torch.float32 for p in module.parameters())
    assert found[0].abs().max() > 1e-4
    assert (found[0] - found[1]).abs().max() < 0.1 * found[0].abs().max()


def test_a_decoder_reads_its_last_token_wherever_the_padding_is():
    encoder = module_of(config=LLAMA, pooling="last").encoder.eval()
    x = texts(5, 4)
    z = encoder(x)
    states = encoder.states(x["input_ids"], x["attention_mask"])
    for row, length in enumerate(x["attention_mask"].sum(1).tolist()):
        torch.testing.assert_close(z[row], states[row, length - 1])
        alone = {name: value[row : row + 1, :length] for name, value in x.items()}
        torch.testing.assert_close(encoder(alone)[0], z[row], atol=1e-6, rtol=1e-5)
    later = {**x, "input_ids": x["input_ids"].clone()}
    later["input_ids"][0, -1] = 7
    changed = encoder.states(later["input_ids"], x["attention_mask"])
    assert torch.equal(changed[0, :-1], states[0, :-1]), "a causal mask"
    assert not torch.equal(changed[0, -1], states[0, -1])


def test_models_without_checkpointing_are_refused(monkeypatch):
    from transformers import BertModel

    monkeypatch.setattr(BertModel, "supports_gradient_checkpointing", False)
    with pytest.raises(ValueError, match="gradient_checkpointing=True: BertModel has none"):
        module_of(gradient_checkpointing=True)
