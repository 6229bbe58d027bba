"""Encoders around a transformer: nv-embed, promcse, moe-embed, and subsentence's masks."""

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.contrast import Candidates, Contrast, Cosine, Dot
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import DomainExperts, LatentAttention, Prompted, TextEncoder
from lightning_contrast.objectives import InfoNCE, Triplet
from lightning_contrast.regularisers import Beside, Regularised

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": 60}
GPT = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 60, "n_positions": 32}
IDS = torch.tensor([[2, 9, 8, 3, 0], [2, 7, 12, 13, 3]])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
WIDER = {"input_ids": torch.cat([IDS, IDS[:, :2]], 1), "attention_mask": torch.cat([MASK, MASK[:, :2] * 0], 1)}


def made(kind, seed=0, config=SMALL, **arguments):
    torch.manual_seed(seed)
    return kind(config=config, **arguments).eval()


class TestSubsentence:
    def test_a_full_mask_is_the_sentence(self):
        encoder = made(TextEncoder)
        torch.testing.assert_close(encoder({**TOKENS, "pooling_mask": MASK}), encoder(TOKENS))

    def test_a_vector_a_proposition(self):
        encoder = made(TextEncoder)
        one, two = (torch.tensor([[0, 1, 0, 0, 0]] * 2), torch.tensor([[0, 0, 1, 1, 0]] * 2))
        states = encoder.states(IDS, MASK)
        torch.testing.assert_close(encoder({**TOKENS, "pooling_mask": one}), states[:, 1])
        found = encoder({**TOKENS, "pooling_mask": two})
        torch.testing.assert_close(found, states[:, 2:4].mean(1))
        assert not torch.allclose(found, states[:, 1])


class TestLatentAttention:
    def test_neither_padding_nor_instructions_are_pooled(self):
        encoder = made(LatentAttention, latents=5)
        torch.testing.assert_close(encoder(WIDER), encoder(TOKENS))
        states = encoder.states(IDS, MASK)
        other = states.clone()
        other[:, 0] = 7.0
        without = MASK * torch.tensor([0, 1, 1, 1, 1])
        torch.testing.assert_close(encoder.pool(states, without), encoder.pool(other, without))

    def test_latents(self):
        encoder = made(LatentAttention, latents=5)
        before = encoder(TOKENS)
        with torch.no_grad():
            encoder.latents.copy_(encoder.latents[[3, 1, 4, 0, 2]].clone())
            torch.testing.assert_close(encoder(TOKENS), before)
            encoder.latents.copy_(encoder.latents[:1].expand(5, -1).clone())
            out = encoder.attended(encoder.states(IDS, MASK)).flatten(0, 1)
        torch.testing.assert_close(out, out[:1].expand_as(out))

    def test_weights_over_latents_sum_to_1(self):
        encoder = made(LatentAttention, latents=5)
        latents = encoder.latents.expand(2, -1, -1)
        _, weights = encoder.attention(encoder.states(IDS, MASK), latents, latents)
        assert weights.shape == (2, 5, 5)
        torch.testing.assert_close(weights.sum(2), torch.ones(2, 5))

    @pytest.mark.parametrize("both_ways", [True, False])
    def test_a_decoder_looks_both_ways(self, both_ways):
        encoder = made(LatentAttention, config=GPT, bidirectional=both_ways)
        later = IDS.clone()
        later[1, 4] = 20
        change = (encoder.states(later, MASK) - encoder.states(IDS, MASK))[1, :4].abs().max()
        assert (change > 1e-4) == both_ways
        torch.testing.assert_close(encoder(WIDER), encoder(TOKENS))


class TestPrompted:
    def test_only_prompts_learn(self):
        encoder = made(Prompted, prompts=3)
        assert [name for name, p in encoder.named_parameters() if p.requires_grad] == ["prompts"]
        encoder(TOKENS).square().sum().backward()
        assert (encoder.prompts.grad.flatten(1).abs().sum(1) > 0).all(), "in every layer"

    def test_prompts_are_seen_by_every_token_and_padding_by_none(self):
        encoder = made(Prompted, prompts=3)
        torch.testing.assert_close(encoder(WIDER), encoder(TOKENS))
        before = encoder.states(IDS, MASK)
        with torch.no_grad():
            encoder.prompts.add_(1.0)
        assert ((encoder.states(IDS, MASK) - before).abs().amax(2) > 1e-5).all()

    def test_the_energy_hinge(self):
        """Positive 0.8, hardest negative 0.7, margin 0.2: 0.1; with a margin to spare 0."""
        row = torch.tensor([[0.8, 0.7, 0.1], [0.7, 0.9, 0.2], [0.0, 0.0, 1.0]]).double()
        hinge = Triplet(0.2, "batch-hard", similarity=Dot(), positives="pair")
        found = hinge(Contrast.from_pairs(row, torch.eye(3).double()))
        assert found.item() == pytest.approx(0.1 / 3)

    def test_the_hinge_moves_one_negative_an_anchor(self):
        """Of the batch's and the written ones, where all are near."""
        drawn = torch.Generator().manual_seed(0)
        z = torch.nn.functional.normalize(torch.randn(3, 4, 6, generator=drawn) * 0.1 + 1, dim=-1).requires_grad_()
        keys = torch.nn.functional.normalize(torch.randn(8, 6, generator=drawn) * 0.1 + 1, dim=-1).requires_grad_()
        hinge = Triplet(0.2, "batch-hard", similarity=Dot(), positives="pair")
        for row in range(4):
            anchor = Contrast.from_pairs(z[0, row : row + 1], keys[:1]).append(Candidates(keys[1:], name="negative"))
            (grad,) = torch.autograd.grad(hinge(anchor), keys)
            assert grad[0].any(), "the positive"
            assert grad[1:].any(1).sum() == 1

    def test_training_leaves_the_transformer_bit_by_bit(self):
        torch.manual_seed(0)
        encoder = Prompted(config={**SMALL, "vocab_size": 100}, prompts=3)
        objective = Regularised(
            InfoNCE(0.05), [Beside(Triplet(0.2, "batch-hard", similarity=Cosine(), positives="pair"), 10.0)]
        )
        module = ContrastiveModule(encoder, objective, optimizer=lambda p: torch.optim.AdamW(p, lr=0.01))
        texts = [
            (f"the {a} {b}", f"{b} of a {a}", f"no {a}") for a in ("cat", "dog", "owl") for b in ("sat", "ran", "ate")
        ]
        data = TextDataModule(texts, tokenizer=TextTokenizer(vocab_size=100), batch_size=4)
        trainer = pl.Trainer(
            max_steps=2, logger=False, enable_checkpointing=False, accelerator="cpu", enable_progress_bar=False,
            enable_model_summary=False, limit_val_batches=0,
        )  # fmt: skip
        before = {name: value.clone() for name, value in encoder.state_dict().items()}
        trainer.fit(module, data)
        changed = [name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])]
        assert changed == ["prompts"]


class TestDomainExperts:
    def test_before_training_it_is_the_dense_model(self):
        dense, experts = made(TextEncoder), made(DomainExperts, domains=3)
        for domain in ([0, 0], [2, 1]):
            torch.testing.assert_close(experts({**TOKENS, "domain": torch.tensor(domain)}), dense(TOKENS))

    def test_each_row_trains_its_own_expert(self):
        encoder = made(DomainExperts, domains=3)
        encoder({**TOKENS, "domain": torch.tensor([1, 1])}).square().sum().backward()
        layer = encoder.transformer.encoder.layer[0].output.dense
        assert [bool(g.any()) for g in layer.weight.grad] == [False, True, False]
        with torch.no_grad():
            layer.weight[2].normal_()
        one, two = (encoder({**TOKENS, "domain": torch.tensor(d)}) for d in ([0, 0], [0, 2]))
        torch.testing.assert_close(one[0], two[0])
        assert not torch.allclose(one[1], two[1])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: made(LatentAttention, heads=3), "divide the width 16"),
        (lambda: made(Prompted, prompts=0), "prompts=0"),
        (lambda: made(DomainExperts, domains=0), "domains=0"),
        (lambda: made(DomainExperts, config=GPT), "no feed-forward layers"),
        (lambda: made(DomainExperts)(TOKENS), "needs 'domain'"),
        (lambda: made(DomainExperts)({**TOKENS, "domain": torch.tensor([0, 5])}), "0 to 5"),
    ],
)
def test_misuse(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()
