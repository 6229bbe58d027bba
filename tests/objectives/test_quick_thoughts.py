"""Quick-Thoughts: InfoNCE whose positives are the neighbours, of two encoders side by side."""

import math

import pytest
import torch

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.contrast import Dot
from lightning_contrast.encoders import MLPEncoder, SideBySide
from lightning_contrast.objectives import InfoNCE, SupCon
from lightning_contrast.similarities import AcrossHalves
from lightning_contrast.targets import Neighbours
from tests.ranks import run_ranks


def quick_thoughts(width=1, within=None):
    return InfoNCE(1.0, AcrossHalves(), target=Neighbours(width, within=within))


def double_loop(z, place, chapter):
    """One way over ``z: [N, 2D]``: neighbours in the chapter share a mass of 1, an anchor is no candidate of its own."""
    n, half = len(z), z.shape[1] // 2
    losses = []
    for i in range(n):
        logits = {j: float(z[i, :half] @ z[j, half:]) for j in range(n) if j != i}
        near = [j for j in logits if abs(place[i] - place[j]) == 1 and chapter[i] == chapter[j]]
        if near:
            total = math.log(math.fsum(math.exp(x) for x in logits.values()))
            losses.append(math.fsum(total - logits[j] for j in near) / len(near))
    return math.fsum(losses) / len(losses)


@pytest.fixture
def z():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_band_of_four():
    c = Contrast.from_views(torch.ones(1, 4, 2), place=torch.arange(4)).replace(target=Neighbours())
    target = quick_thoughts().prepare(c).scores().target
    expected = torch.tensor([[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0]])
    torch.testing.assert_close(target / target.sum(1, keepdim=True), expected)


def test_zero_encoders():
    loss = quick_thoughts()(Contrast.from_views(torch.zeros(1, 7, 4), place=torch.arange(7)))
    assert loss.item() == pytest.approx(math.log(6))


def test_double_loop(z):
    place, chapter = torch.tensor([0, 1, 2, 3, 4, 6, 7, 9]), torch.tensor([0, 0, 0, 1, 1, 1, 1, 2])
    loss = quick_thoughts(within="chapter")(Contrast.from_views(z[None], place=place, chapter=chapter))
    assert loss.item() == pytest.approx(double_loop(z, place.tolist(), chapter.tolist()), abs=1e-9)


def test_supcon_of_band_labels(z):
    """Sentences two by two: the band is the labels'."""
    label = torch.arange(8) // 2
    place = torch.tensor([0, 1, 10, 11, 20, 21, 30, 31])
    both = torch.cat([z, z], 1)
    found = quick_thoughts()(Contrast.from_views(both[None], place=place))
    expected = SupCon(1.0, Dot())(Contrast.from_views(z[None], label=label))
    torch.testing.assert_close(found, expected)


def _ranks(rank, world, z):
    own = slice(rank, None, world)
    part = z[own].clone().requires_grad_()
    loss = quick_thoughts()(Contrast.from_views(part[None], place=torch.arange(len(z))[own]))
    loss.backward()
    return loss.item(), part.grad


def test_processes(z):
    """A stretch that two processes share."""
    whole = z.clone().requires_grad_()
    loss = quick_thoughts()(Contrast.from_views(whole[None], place=torch.arange(8)))
    loss.backward()
    found = run_ranks(2, _ranks, z)
    assert sum(one for one, _ in found) / 2 == pytest.approx(loss.item())
    for rank, (_, grad) in enumerate(found):
        torch.testing.assert_close(grad / 2, whole.grad[rank::2])


def test_a_text_is_both_vectors():
    encoder = SideBySide([MLPEncoder([4], 5), MLPEncoder([4], 5)])
    assert encoder(torch.zeros(1, 3)).shape == (1, 10)
    module = ContrastiveModule(encoder=encoder, objective=quick_thoughts())
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    assert module.embed(x).shape == (6, 10)
    assert encoder.output_dim == 10
    batch = {"views": [x], "index": torch.arange(6), "place": torch.arange(6)}
    loss = module.training_step(batch)
    loss.backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in encoder.parameters()), "both learn"
    torch.testing.assert_close(loss, torch.tensor(double_loop(module.embed(x).detach(), list(range(6)), [0] * 6)))


def test_misuse():
    with pytest.raises(ValueError, match="width=0"):
        Neighbours(0)
    with pytest.raises(ValueError, match="halves"):
        AcrossHalves().tile(torch.ones(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="at least one"):
        SideBySide([])
