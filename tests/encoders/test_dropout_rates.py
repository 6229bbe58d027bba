"""Views by dropout of several strengths (supcl-seq)."""

import pytest
import torch
from torch import nn

from lightning_contrast.encoders import DropoutRates, ModuleEncoder, TextEncoder
from lightning_contrast.encoders.dropout_rates import dropout_at, dropouts

TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 60}


class Dropping(nn.Module):
    """Says at which rate its rows were encoded."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return torch.full((len(x), 1), self.drop.p)


def test_each_view_has_its_rate_and_afterwards_the_old_one():
    encoder = DropoutRates(Dropping(), [None, 0.0, 0.05, 0.2])
    found = encoder(torch.zeros(8, 3)).flatten()
    torch.testing.assert_close(found, torch.tensor([0.1, 0.1, 0.0, 0.0, 0.05, 0.05, 0.2, 0.2]))
    assert encoder.encoder.drop.p == 0.1
    assert encoder.eval()(torch.zeros(3, 3)).flatten().tolist() == pytest.approx([0.1] * 3)


def test_restored_where_the_encoder_fails():
    encoder = Dropping()
    seen = []

    def fail():
        with dropout_at(encoder, 0.5):
            seen.append(encoder.drop.p)
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        fail()
    assert seen == [0.5]
    assert encoder.drop.p == 0.1


def test_a_transformer():
    torch.manual_seed(0)
    encoder = DropoutRates(TextEncoder(config=TINY), [0.0, 0.0, 0.5])
    ids = torch.tensor([[2, 9, 8, 3], [2, 7, 12, 3]]).repeat(3, 1)
    one, two, other = encoder({"input_ids": ids, "attention_mask": torch.ones_like(ids)}).chunk(3)
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, other)
    assert {getattr(layer, name) for layer, name in dropouts(encoder)} == {0.1}
    assert encoder.output_dim == 16


def test_refused():
    for rates in ([], [1.0], [-0.1]):
        with pytest.raises(ValueError, match="rates"):
            DropoutRates(Dropping(), rates)
    with pytest.raises(ValueError, match="no dropout"):
        DropoutRates(ModuleEncoder("torch.nn.Flatten"))
    with pytest.raises(ValueError, match="n_views=4"):
        DropoutRates(Dropping())(torch.zeros(6, 3))
