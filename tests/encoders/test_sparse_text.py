"""SPLADE: weights of words, beside a loop, and what makes them sparse."""

import math

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.encoders import SparseTextEncoder
from lightning_contrast.regularisers import FLOPS
from tests.ranks import run_ranks

SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 30}
TOKENS = {
    "input_ids": torch.tensor([[2, 9, 8, 3, 0], [2, 7, 12, 13, 3]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]),
}
Z = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_beside_a_loop():
    torch.manual_seed(0)
    encoder = SparseTextEncoder(config=SMALL).eval()
    assert encoder.output_dim == 30
    torch.nn.init.zeros_(encoder.transformer.get_output_embeddings().bias)
    logits = (encoder.transformer(**TOKENS).logits * 5).tolist()
    found = encoder.pool(torch.tensor(logits), TOKENS["attention_mask"]).tolist()
    for row, length in enumerate((4, 5)):
        wanted = [max(math.log1p(max(0.0, logits[row][t][j])) for t in range(length)) for j in range(30)]
        assert found[row] == pytest.approx(wanted, abs=1e-5)
    chosen = {**TOKENS, "pooling_mask": torch.tensor([[0, 1, 0, 0, 0]] * 2)}
    states = encoder.states(TOKENS["input_ids"], TOKENS["attention_mask"])
    torch.testing.assert_close(encoder(chosen), torch.log1p(states[:, 1].relu()))
    wide = {name: torch.nn.functional.pad(value, (0, 2)) for name, value in TOKENS.items()}
    torch.testing.assert_close(encoder(wide), encoder(TOKENS))


def test_an_untrained_model_starts_sparse():
    """As worked by hand: two standard deviations below zero, a word weighs at 2.3 % of the tokens, and a text of sixteen
    tokens has 1 - 0.977^16 = 31 % of the vocabulary, not all of it."""
    torch.manual_seed(0)
    encoder = SparseTextEncoder(config={"vocab_size": 500}).eval()
    last = encoder.transformer.get_output_embeddings()
    torch.testing.assert_close(last.bias, -2 * last.weight.square().sum(1).sqrt())
    ids = torch.randint(5, 500, (32, 16))
    z = encoder({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert 0.2 < (z > 0).float().mean() < 0.4
    assert z.square().sum(1).mean() < 10


def test_a_model_of_ones_own_keeps_its_biases(tmp_path):
    own = SparseTextEncoder(config=SMALL).transformer
    torch.nn.init.constant_(own.get_output_embeddings().bias, 0.5)
    own.save_pretrained(tmp_path)
    found = SparseTextEncoder(str(tmp_path)).transformer.get_output_embeddings().bias
    assert found.tolist() == [0.5] * 30


def test_flops_beside_a_loop():
    pairs = Contrast.from_pairs(Z[0], Z[1])
    for side, z in (("anchors", Z[0]), ("candidates", Z[1])):
        wanted = math.fsum((math.fsum(abs(float(z[i, j])) for i in range(5)) / 5) ** 2 for j in range(4))
        assert FLOPS(2.0, side)(pairs).item() == pytest.approx(2 * wanted)
        private = Contrast.from_pairs(Z[0], Z[1], in_batch=False)
        assert FLOPS(2.0, side)(private).item() == pytest.approx(2 * wanted)
    assert torch.autograd.gradcheck(lambda z: FLOPS(1.0)(Contrast.from_views(z)), Z.clone().requires_grad_())
    with pytest.raises(ValueError, match="side='all'"):
        FLOPS(side="all")


def test_equal_columns_cost_least():
    """One word in all texts costs N times what N words in one text each do."""
    same, other = torch.zeros(4, 4), torch.eye(4)
    same[:, 0] = 1
    costs = [FLOPS(1.0)(Contrast.from_views(z[None])).item() for z in (same, other)]
    assert costs == [1.0, 0.25]


def of_rank(rank, world):
    rows = [slice(0, 2), slice(2, 5)][rank]
    z = Z[:, rows].clone().requires_grad_()
    loss = FLOPS(1.0, "candidates")(Contrast.from_pairs(z[0], z[1]))
    (loss / world).backward()
    return loss.detach(), z.grad


def test_two_processes_are_one():
    z = Z.clone().requires_grad_()
    whole = FLOPS(1.0, "candidates")(Contrast.from_pairs(z[0], z[1]))
    whole.backward()
    found = run_ranks(2, of_rank)
    torch.testing.assert_close(torch.stack([f[0] for f in found]).mean(), whole.detach())
    torch.testing.assert_close(torch.cat([f[1] for f in found], 1), z.grad)
