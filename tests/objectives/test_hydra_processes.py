"""Hydra on two processes: every kind of partner, values and gradients, with pairs made on each process."""

import pytest
import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import Hydra
from tests.ranks import run_ranks

SIZES, D = (4, 5), 4
LABEL = torch.tensor([0, 1, 0, 2, 1, 1, 0, 2, 1])


class OfTwo(Hydra):
    """One process that pairs as two do: each part of the batch on its own."""

    def _partners(self, label: Tensor) -> Tensor:
        parts = [super(OfTwo, self)._partners(part) for part in label.split(SIZES)]
        return torch.cat([part + start for part, start in zip(parts, (0, SIZES[0]), strict=True)])


def share(kind: type[Hydra], rows: slice, exchange: str, partner, exclude: bool, views: bool) -> list[Tensor]:
    """Loss and the gradients of an encoder and of the gates."""
    torch.manual_seed(0)
    loss = kind(3, D, partner, exclude, hidden=3, temperature=0.5, symmetric=not views).double()
    encoder = torch.eye(D, dtype=torch.float64).add(0.1).requires_grad_()
    z = torch.randn(2, sum(SIZES), D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[:, rows]
    payload = {"label": LABEL[rows], "index": torch.arange(sum(SIZES))[rows]}
    make = Contrast.from_views if views else lambda z, **p: Contrast.from_pairs(z[0], z[1], **p)
    value = loss(make(z @ encoder, **payload).replace(exchange=exchange))
    value.backward()
    return [value.detach(), encoder.grad, *(p.grad for p in loss.parameters())]


def on_rank(rank: int, world: int, *settings) -> list[Tensor]:
    start = sum(SIZES[:rank])
    return share(Hydra, slice(start, start + SIZES[rank]), "gather", *settings)


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("partner", ["any", "class", "own"])
def test_two_processes_are_one_that_pairs_alike(partner, exclude, views):
    alone = share(OfTwo, slice(None), "none", partner, exclude, views)
    shares = run_ranks(2, on_rank, partner, exclude, views)
    for expected, *found in zip(alone, *shares, strict=True):
        torch.testing.assert_close(sum(found) / 2, expected, rtol=1e-9, atol=1e-10)
    if partner != "own":
        whole = share(Hydra, slice(None), "none", partner, exclude, views)
        assert not torch.allclose(whole[0], alone[0]), "the pairs must be other ones for the test to say something"
