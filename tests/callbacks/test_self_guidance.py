"""SG-BERT: the embedding of a text against the frozen layers of all texts."""

import math

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import SelfGuidance
from lightning_contrast.callbacks.self_guidance import frozen_layers
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import MLPEncoder, TextEncoder
from lightning_contrast.heads import MLPHead
from lightning_contrast.objectives import DecoupledSoftmax, InfoNCE

TEXTS = [f"{a} {b} went" for a in ("cat", "dog", "owl", "fox") for b in ("up", "down", "home", "far", "by", "in")]
CONFIG = {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 100}
TAU = 0.5


def fit(callback, steps=1, objective=None, path=None, ckpt=None, hold_rate=0.01, dropout=None, batch=4, **settings):
    torch.manual_seed(0)
    module = ContrastiveModule(
        encoder=TextEncoder(config=CONFIG, pooling="cls", dropout=dropout),
        head=MLPHead([8], 6, activation="gelu"),
        objective=objective or DecoupledSoftmax(TAU, positives="mean"),
        optimizer=lambda p: torch.optim.SGD(p, lr=hold_rate),
    )
    tokenizer = TextTokenizer(vocab_size=100)
    data = TextDataModule(TEXTS, n_views=1, batch_size=batch, tokenizer=tokenizer, drop_last=False)
    trainer = pl.Trainer(
        max_steps=steps, callbacks=[callback], logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, **settings,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=ckpt, weights_only=True)
    if path is not None:
        trainer.save_checkpoint(path)
    return module, trainer, data


@pytest.fixture(scope="module")
def parts():
    """A fitted module without dropout, a batch, and what is compared: ``c [N, D]`` and ``h [N, K, D]`` of unit length."""
    module, trainer, data = fit(SelfGuidance())
    module.eval()
    batch = next(iter(data.train_dataloader()))
    x = batch["views"][0]
    unit = torch.nn.functional.normalize
    c = unit(module.project(x), dim=1)
    h = unit(module.head(frozen_layers(module.extras["self_guidance"].copied[0], x)), dim=-1)
    return module, trainer, batch, c.detach(), h.detach()


def loss(parts, option, objective):
    module, trainer, batch, _, _ = parts
    callback = SelfGuidance(option)
    callback._inputs = batch["views"][0]
    contrast = objective.prepare(module.contrast(batch))
    changed = callback.on_contrast(trainer, module, contrast)
    return objective(changed).item(), changed


def test_all_layers(parts):
    """SG-OPT by a double loop."""
    c, h = parts[3].double(), parts[4].double()
    n, k = h.shape[:2]
    assert k == 3, "the words and two layers"
    terms = []
    for i in range(n):
        others = sum(math.exp(c[i] @ h[m, j] / TAU) for m in range(n) if m != i for j in range(k))
        for j in range(k):
            own = math.exp(c[i] @ h[i, j] / TAU)
            terms.append(-math.log(own / (own + others)))
    found, _ = loss(parts, "opt3", DecoupledSoftmax(TAU, positives="mean"))
    assert found == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_one_layer_is_infonce_and_opt1_adds_the_other_texts(parts):
    c, n = parts[3].double(), len(parts[3])
    two, changed = loss(parts, "opt2", InfoNCE(TAU))
    h = torch.nn.functional.normalize(changed.candidates[0].first.detach().double(), dim=1)
    drawn = [min((h[i] - one).norm() for one in parts[4][i].double()) for i in range(n)]
    assert max(drawn) < 1e-5, "each text's is one of its layers"
    logits = c @ h.mT / TAU
    assert two == pytest.approx(torch.nn.functional.cross_entropy(logits, torch.arange(n)).item(), abs=1e-5)
    one, _ = loss(parts, "opt1", InfoNCE(TAU))
    own = (c @ c.mT / TAU).masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    added = torch.cat([logits, own], 1).logsumexp(1) - logits.logsumexp(1)
    assert one - two == pytest.approx(added.mean().item(), abs=1e-5)
    base, changed = loss(parts, "base", InfoNCE(TAU))
    assert changed.anchors.rows == 2 * n
    z = torch.cat([c, h])
    both = (z @ z.mT / TAU).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    expected = torch.nn.functional.cross_entropy(both, torch.arange(2 * n).roll(n))
    assert base == pytest.approx(expected.item(), abs=1e-5)


def test_the_copy_stays_and_a_large_hold_keeps_the_weights():
    free, _, _ = fit(SelfGuidance(hold=0.0), steps=4, hold_rate=0.02)
    held, _, _ = fit(SelfGuidance(hold=10.0), steps=4, hold_rate=0.02)
    distance = []
    for module in (free, held):
        start = module.extras["self_guidance"].copied[0]
        assert all(not p.requires_grad and p.grad is None for p in start.parameters())
        pairs = zip(module.encoder.parameters(), start.parameters(), strict=True)
        distance.append(sum(float((a - b).detach().square().sum()) for a, b in pairs))
    assert 0 < distance[1] < 0.8 * distance[0]


def test_resume(tmp_path):
    whole, _, _ = fit(SelfGuidance("opt2"), steps=6, objective=InfoNCE(TAU))
    fit(SelfGuidance("opt2"), steps=3, objective=InfoNCE(TAU), path=tmp_path / "a.ckpt")
    again, _, _ = fit(SelfGuidance("opt2"), steps=6, objective=InfoNCE(TAU), ckpt=tmp_path / "a.ckpt")
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("option", ["base", "opt3"])
def test_two_processes(option):
    """Of 22 texts the last batch has an odd number."""
    found = []
    for world in (1, 2):
        objective = InfoNCE(TAU) if option == "base" else DecoupledSoftmax(TAU, positives="mean")
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        callback = SelfGuidance(option, hold=1.0)
        module, _, _ = fit(callback, 6, objective, hold_rate=0.1, dropout=0.0, batch=10 // world, **many)
        trained = [*module.encoder.parameters(), *module.head.parameters()]
        found.append(torch.cat([p.detach().flatten() for p in trained]))
        if world == 1:
            start = module.extras["self_guidance"].copied.parameters()
    assert (found[0] - torch.cat([p.flatten() for p in start])).abs().max() > 1e-3
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)


def test_misuse():
    with pytest.raises(ValueError, match="option"):
        SelfGuidance("opt4")
    with pytest.raises(ValueError, match="hold"):
        SelfGuidance(hold=-1)
    module = ContrastiveModule(encoder=MLPEncoder([4], 4))
    with pytest.raises(ValueError, match="TextEncoder"):
        SelfGuidance().setup(pl.Trainer(logger=False, enable_checkpointing=False), module, "fit")
