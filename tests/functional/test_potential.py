import pytest
import torch
from torch.nn.functional import normalize

from lightning_contrast.functional import potential
from lightning_contrast.functional.geometry import uniformity
from lightning_contrast.functional.potential import log_potential


@pytest.mark.parametrize("tile", [3, 5, 100])
def test_tiles_do_not_change_it(tile, monkeypatch):
    monkeypatch.setattr(potential, "TILE", tile)
    z = torch.randn(11, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    energy = -1.3 * torch.cdist(z, z).square()
    odd = (torch.arange(11)[:, None] + torch.arange(11)) % 2 == 1
    above = torch.ones(11, 11, dtype=torch.bool).triu(1)
    cases = {"all": (None, False, ~odd | odd), "odd": (odd, False, odd), "distinct": (None, True, above)}
    for pairs, distinct, chosen in cases.values():
        expected = energy[chosen].exp().mean().log()
        torch.testing.assert_close(log_potential(z, 1.3, pairs, distinct), expected)
    torch.testing.assert_close(uniformity(z, 2.0), log_potential(normalize(z, dim=1), 2.0, distinct=True))


def test_no_pair_is_zero_with_a_graph():
    z = torch.randn(1, 3, requires_grad=True)
    value = log_potential(z, 1.0, distinct=True)
    value.backward()
    assert value == 0
    assert not z.grad.any()
