"""DiffCSE: replaced tokens, told by the vector of the text."""

import math

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import TextDataModule, TextTokenizer, WordNetDataModule
from lightning_contrast.data.debian import DataNotFoundError
from lightning_contrast.encoders import MLPEncoder, TextEncoder
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.regularisers import (
    AttentionInformation,
    MaskedLMGenerator,
    Regularised,
    ReplacedTokens,
    UnigramGenerator,
)
from tests.ranks import run_ranks
from tests.regularisers.listeners import LENGTHS, ROWS, SMALL, batch, contrast_of, module, share

TEXTS = [
    f"the {a} {b} went {c}" for a in ("cat", "dog", "owl", "fox") for b in ("up", "in", "by") for c in ("far", "home")
]


def made(**arguments):
    torch.manual_seed(5)
    return ReplacedTokens(**{"weight": 1.0, "discriminator": TextEncoder(config=SMALL, dropout=0.0), **arguments})


def parts(net, given):
    (term,) = net.objective.regularisers
    contrast = contrast_of(net, given)
    term.step.zero_()
    return term, contrast, *term.kept(contrast)


def test_beside_a_loop():
    """Every token but the first and those of the padding, by the discriminator's two logits."""
    net = module(made())
    term, contrast, ids, mask = parts(net, batch(padding=2))
    loss = term.term(contrast).item()
    term.step.zero_()
    changed = term.changed(ids, mask, contrast)
    logits = term.logits(changed, mask, contrast.anchors.first).tolist()
    found = [
        math.log(math.exp(two[0]) + math.exp(two[1])) - two[int(changed[row, place] != ids[row, place])]
        for row in range(2 * ROWS) for place, two in enumerate(logits[row]) if 0 < place < LENGTHS[row % ROWS]
    ]  # fmt: skip
    assert loss == pytest.approx(math.fsum(found) / len(found), rel=1e-5)
    assert 0.3 < loss < 1.4, "about log 2 before it has learned"


def test_one_that_says_nothing_is_at_log_2():
    net = module(made())
    term, contrast, *_ = parts(net, batch())
    torch.nn.init.zeros_(term.tell.weight)
    torch.nn.init.zeros_(term.tell.bias)
    assert term.term(contrast).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_rate(rate):
    net = module(made(rate=rate))
    term, contrast, ids, mask = parts(net, batch())
    changed = [term.changed(ids, mask, contrast) for _ in range(60)]
    real = mask.bool() & (torch.arange(ids.shape[1]) > 0)
    assert all(torch.equal(one[~real], ids[~real]) for one in changed)
    share_of = torch.stack([(one != ids)[real].float().mean() for one in changed]).mean().item()
    assert share_of == 0 if rate == 0 else rate * 0.8 < share_of <= rate * 1.1, "an equal word may be drawn"
    if rate == 0.3:
        assert not torch.equal(changed[0], changed[1]), "anew each step"
        assert not torch.equal(changed[0][:ROWS] == ids[:ROWS], changed[0][ROWS:] == ids[ROWS:]), "and each view"


def test_words_are_drawn_by_frequency():
    generator = UnigramGenerator(12, special=[0, 1, 2])
    ids = torch.tensor([[2, 5, 5, 5, 9, 1]])
    u = torch.linspace(0, 1, 1001)[:-1].expand(1, -1)
    generator(ids, torch.ones_like(ids), torch.zeros_like(ids, dtype=torch.bool), torch.zeros(1, 6))
    assert generator.counts.tolist() == [0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0]
    generator.eval()
    long = torch.zeros(1, 1000, dtype=torch.int64)
    drawn = generator(long, torch.ones_like(long), torch.ones_like(long, dtype=torch.bool), u)
    assert torch.bincount(drawn[0]).tolist() == [0, 0, 0, 0, 0, 750, 0, 0, 0, 250]
    assert generator.counts.sum() == 4, "evaluation counts nothing"
    with pytest.raises(ValueError, match="vocab_size=3"):
        UnigramGenerator(3)(ids, torch.ones_like(ids), ids > 4, torch.zeros(1, 6))


def test_the_encoder_learns_through_the_vector_alone():
    net = module(made())
    term, contrast, *_ = parts(net, batch())
    weights = list(net.encoder.parameters())
    assert any(g is not None and g.any() for g in torch.autograd.grad(term(contrast), weights, allow_unused=True))
    constant = contrast.map_own(lambda block: block.detach())
    alone = torch.autograd.grad(term(constant), [*weights, term.tell.weight], allow_unused=True)
    assert all(g is None for g in alone[:-1])
    assert alone[-1].any()


def test_a_masked_language_model_of_ones_own(tmp_path):
    from transformers import AutoConfig, AutoModelForMaskedLM

    tokenizer = TextTokenizer(vocab_size=100)
    tokenizer.learn(TEXTS)
    tokenizer.save(tmp_path)
    config = AutoConfig.for_model("bert", **{**SMALL, "vocab_size": 100}, num_hidden_layers=1, num_attention_heads=2)
    own = AutoModelForMaskedLM.from_config(config)
    own.save_pretrained(tmp_path)
    generator = MaskedLMGenerator(str(tmp_path))
    assert generator.mask_id == 4
    assert generator.special.tolist() == [0, 1, 2, 3, 4]
    wide = {**SMALL, "vocab_size": 100}
    net = module(made(generator=generator, discriminator=TextEncoder(config=wide)))
    net.train()
    assert not generator.model.training
    assert not any(p.requires_grad for p in generator.parameters())
    x = tokenizer(TEXTS[:2])
    ids, masked = x["input_ids"], torch.zeros_like(x["input_ids"], dtype=torch.bool)
    masked[0, 2] = True
    wanted = ids.clone()
    given = ids.clone()
    given[0, 2] = 4
    wanted[0, 2] = own.eval()(given, attention_mask=x["attention_mask"]).logits[0, 2].argmax()
    assert torch.equal(generator(ids, x["attention_mask"], masked, torch.zeros(ids.shape)), wanted)
    same = MaskedLMGenerator(own, 4, range(5))
    assert torch.equal(same(ids, x["attention_mask"], masked, torch.zeros(ids.shape)), wanted)
    assert net.training_step(batch()) > 0
    with pytest.raises(ValueError, match="has 100 tokens"):
        generator(ids + 100, x["attention_mask"], masked, masked)
    with pytest.raises(ValueError, match="give mask_id and special"):
        MaskedLMGenerator(own)
    with pytest.raises(ValueError, match="cannot be opened as a masked"):
        MaskedLMGenerator(str(tmp_path / "none"), 4, [0])


class SaveAt(pl.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(given=(), ckpt=None):
    wide = {**SMALL, "vocab_size": 100}
    torch.manual_seed(0)
    terms = [ReplacedTokens(1.0, TextEncoder(config=wide)), AttentionInformation(1.0, entries=20)]
    net = module(*terms, optimizer=lambda p: torch.optim.AdamW(p, lr=0.01))
    net.encoder = TextEncoder(config=wide)
    data = TextDataModule(TEXTS, batch_size=4, tokenizer=TextTokenizer(vocab_size=100))
    trainer = pl.Trainer(
        max_steps=7, callbacks=list(given), logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(net, data, ckpt_path=ckpt, weights_only=True)
    return net.state_dict()


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    """With miCSE's term beside it; stopped in the second epoch, with dropout."""
    path = tmp_path / "a.ckpt"
    whole = fit([SaveAt(5, path)])
    again = fit(ckpt=path)
    assert whole["objective.regularisers.0.step"] == 7
    assert whole["objective.regularisers.0.generator.counts"].sum() > 100
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_two_processes_are_one():
    (whole, grad), found = share(0, 1, made), run_ranks(2, share, made)
    assert sum(loss for loss, _ in found) / 2 == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(sum(g for _, g in found) / 2, grad, rtol=1e-4, atol=1e-5)


def test_misuse():
    with pytest.raises(ValueError, match=r"rate=1\.5"):
        made(rate=1.5)
    narrow = made(discriminator=TextEncoder(config={**SMALL, "hidden_size": 4}))
    with pytest.raises(ValueError, match="give the discriminator hidden_size=8, or the head output_dim=4"):
        module(narrow)._score(batch())
    few = made(discriminator=TextEncoder(config={**SMALL, "vocab_size": 20}), generator=UnigramGenerator(40))
    with pytest.raises(ValueError, match="20 tokens"):
        module(few)._score(batch())
    net = module(made())
    net.encoder = MLPEncoder([4], 4)
    with pytest.raises(ValueError, match="reads input_ids"):
        net._score({"views": [torch.zeros(2, 4)] * 2, "index": torch.arange(2)})
    net = module(made(), chunk_size=2)
    data = TextDataModule(TEXTS, batch_size=4, tokenizer=TextTokenizer(vocab_size=100))
    with pytest.raises(ValueError, match="of which chunks keep no graph"):
        pl.Trainer(max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu").fit(net, data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*have more than max_length")  # the first words of a gloss are enough here
def test_the_vector_tells_what_was_replaced():
    """On real glosses, after 300 steps: another text's vector helps less than the text's own, or nothing."""
    own, others, common = learned()
    assert own["loss"] < others["loss"] - 0.05
    assert own["accuracy"] > others["accuracy"] + 0.02
    assert own["accuracy"] > common + 0.02, "and beats saying that nothing was replaced"


def learned():
    try:
        data = WordNetDataModule(
            task="glosses", subset=6000, batch_size=64, tokenizer=TextTokenizer(vocab_size=1000, max_length=16)
        )
        data.setup()
    except DataNotFoundError as error:
        pytest.skip(str(error))
    config = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 1000, "num_attention_heads": 2}
    torch.manual_seed(0)
    term = ReplacedTokens(1.0, TextEncoder(config=config, dropout=0.0))
    encoder = TextEncoder(config={**config, "num_hidden_layers": 1}, dropout=0.1)
    objective = Regularised(InfoNCE(0.05), [term])
    net = ContrastiveModule(encoder, objective, optimizer=lambda p: torch.optim.AdamW(p, lr=2e-3))
    trainer = pl.Trainer(
        max_steps=300, logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(net, data)
    for part in [*encoder.modules(), *term.generator.modules()]:
        part.training = False  # the term itself listens in training alone
    sums, count, replaced = torch.zeros(2, 2), 0, 0
    with torch.no_grad():
        for given in data.val_dataloader():
            contrast = contrast_of(net, given)
            ids, mask = term.kept(contrast)
            changed, h = term.changed(ids, mask, contrast), contrast.anchors.first
            asked = (mask != 0) & (torch.arange(ids.shape[1]) > 0)
            label = (changed != ids)[asked].long()
            for row, vector in enumerate((h, h.roll(1, 0))):
                logits = term.logits(changed, mask, vector)[asked]
                loss = torch.nn.functional.cross_entropy(logits, label, reduction="sum")
                sums[row] += torch.stack([loss, (logits.argmax(1) == label).sum()])
            count, replaced = count + len(label), replaced + int(label.sum())
    figures = [{"loss": float(a), "accuracy": float(b)} for a, b in sums / count]
    return *figures, 1 - replaced / count
