"""Xu et al. 2025: the noise path, the encoder that is told of it, and the three comparisons."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.data import ImageAugmentation, NoisePath
from lightning_contrast.data.noise_path import standard_normal
from lightning_contrast.encoders import Momentum, NoiseConditioned, SmallCNN
from lightning_contrast.functional.karras import karras_sigmas
from lightning_contrast.objectives import RRCM, InfoNCE
from tests.ranks import run_ranks


def test_levels_by_hand() -> None:
    """(0.002^(1/7) + i / 19 (80^(1/7) - 0.002^(1/7)))^7."""
    found = karras_sigmas(20)
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    for i in range(20):
        assert found[i].item() == pytest.approx((low + i / 19 * (high - low)) ** 7, rel=1e-5)
    assert (found.diff() > 0).all()
    for bad in ({"steps": 1}, {"low": 0.0}, {"high": 0.001}, {"rho": 0.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            karras_sigmas(**{"steps": 5, **bad})


def pictures(n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return images, torch.arange(n) + 7


def noise_of(path: NoisePath, view: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    return (view[:, :1] - path.normalize(images)) / view[:, 1:]


def test_the_path_has_neighbouring_levels_and_one_noise() -> None:
    images, index = pictures()
    path = NoisePath(seed=3)
    one, two, high, low = path.views(images, index, epoch=1)
    plain = ImageAugmentation(seed=3).views(images, index, epoch=1)
    for noisy, clean in zip((one, two), plain, strict=True):
        assert (noisy[:, 1] == 0.002).all()
        assert 0 < (noisy[:, :1] - clean).abs().max() < 0.012
    levels = karras_sigmas(20)
    places = [torch.searchsorted(levels, v[:, 1, 0, 0].contiguous()) for v in (low, high)]
    assert torch.equal(places[1], places[0] + 1)
    assert len(places[0].unique()) > 8
    e = [noise_of(path, v, images) for v in (high, low)]
    some = low[:, 1, 0, 0] > 0.05  # below, subtraction leaves rounding
    torch.testing.assert_close(e[0][some], e[1][some], rtol=0, atol=1e-3)
    assert e[0].mean().abs() < 0.05
    assert e[0].std().item() == pytest.approx(1.0, abs=0.05)
    apart = NoisePath(seed=3, same_noise=False)
    high, low = apart.views(images, index, epoch=1)[2:]
    assert (noise_of(apart, high, images) - noise_of(apart, low, images))[some].std() > 1
    again = NoisePath(seed=3).views(images[5:], index[5:], epoch=1)
    assert torch.equal(again[2], NoisePath(seed=3).views(images, index, epoch=1)[2][5:]), "of the sample alone"


def test_noise_is_finite_for_every_draw() -> None:
    found = standard_normal(torch.tensor([0.0, 2.0**-24, 0.5, 1 - 2.0**-24]))
    assert torch.isfinite(found).all()
    assert (found.diff() > 0).all()
    assert found[2].abs() < 1e-6


def test_levels_double() -> None:
    images, index = pictures(200)
    path = NoisePath(levels=3, double_every=2)
    found = [len(path.views(images, index, epoch=e)[2][:, 1, 0, 0].unique()) for e in (0, 1, 2, 4)]
    assert found == [2, 2, 5, 11]


def test_equal_levels_give_equal_embeddings() -> None:
    """sigma_s = sigma_t: the same input on both sides."""
    images, index = pictures(4)
    path, sigma = NoisePath(), torch.full((4,), 0.5)
    a, b = (path.noised(path.normalize(images), sigma, (index, 0, 9)) for _ in range(2))
    encoder = NoiseConditioned(SmallCNN([4, 8], channels=2)).eval()
    torch.testing.assert_close(F.cosine_similarity(encoder(a), encoder(b)), torch.ones(4))


def test_what_the_encoder_is_told() -> None:
    seen = torch.nn.Identity()
    encoder = NoiseConditioned(seen, sigma_data=0.5)
    x = torch.randn(2, 1, 3, 3)
    sigma = torch.tensor([0.002, 4.0]).reshape(2, 1, 1, 1)
    out = encoder(torch.cat([x, sigma.expand(2, 1, 3, 3)], 1))
    torch.testing.assert_close(out[1, 0], x[1, 0] / (16.25**0.5))
    torch.testing.assert_close(out[1, 1], torch.full((3, 3), 0.34657359))  # log(4) / 4
    torch.testing.assert_close(encoder(x)[0], out[0])
    with pytest.raises(ValueError, match="NoiseConditioned"):
        encoder(torch.randn(2, 3, 3, 3))
    with pytest.raises(ValueError, match="sigma_data=0"):
        NoiseConditioned(seen, sigma_data=0.0)


def module(**kwargs: bool) -> ContrastiveModule:
    torch.manual_seed(0)
    encoder = NoiseConditioned(SmallCNN([4, 8], grid=1, channels=2, norm="group"))
    head = torch.nn.Linear(6, 6)
    return ContrastiveModule(encoder, RRCM(0.2, head, **kwargs), head=torch.nn.Linear(8, 6), key_encoder=Momentum(0.9))


def batch(n: int = 6) -> dict:
    images, index = pictures(n)
    return {"views": NoisePath().views(images, index, 0), "index": index}


def test_the_three_comparisons() -> None:
    m, data = module(), batch()
    m.train()
    contrasts = m.contrast(data)
    z = [m.project(view) for view in data["views"]]
    k = [m.project_keys(view) for view in data["views"][:2]]
    g = m.objective.path_head

    def infonce(q: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return InfoNCE(0.2)(Contrast.from_pairs(q, p))

    terms = [infonce(z[0], k[1]), infonce(z[1], k[0]), infonce(g(z[2]), g(z[3]))]
    torch.testing.assert_close(m.objective(contrasts), torch.stack(terms).mean())
    torch.testing.assert_close(module(path=False).objective(contrasts), torch.stack(terms[:2]).mean())
    path = RRCM(0.2, g, augmented=False)
    torch.testing.assert_close(path(contrasts), terms[2])


def test_no_gradient_through_the_cleaner_side() -> None:
    z = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    given = [
        Contrast.from_pairs(z[q], z[k].detach(), name=f"view{q + 1}->view{k + 1}")
        for q in range(4)
        for k in range(2)
        if q != k
    ]
    RRCM(0.2, augmented=False)(given).backward()
    norms = z.grad.flatten(1).norm(dim=1)
    assert norms[2] > 0
    assert norms[[0, 1, 3]].abs().max() == 0
    with pytest.raises(ValueError, match="four views"):
        RRCM()(given[:2])
    with pytest.raises(ValueError, match="one of the terms"):
        RRCM(augmented=False, path=False)
    with pytest.raises(ValueError, match="n_views=2"):
        NoisePath().views(*pictures(2), 0, 2)
    with pytest.raises(ValueError, match="double_every=0"):
        NoisePath(double_every=0)


def _on_ranks(rank: int, world: int, z: torch.Tensor) -> tuple[float, torch.Tensor]:
    part = z[:, rank * 3 : rank * 3 + 3].clone().requires_grad_()
    given = [
        Contrast.from_pairs(part[q], part[k].detach(), name=f"view{q + 1}->view{k + 1}")
        for q in range(4)
        for k in range(2)
        if q != k
    ]
    loss = RRCM(0.2)(given)
    loss.backward()
    return loss.item(), part.grad


def test_two_processes_are_one() -> None:
    z = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = z.clone().requires_grad_()
    given = [
        Contrast.from_pairs(whole[q], whole[k].detach(), name=f"view{q + 1}->view{k + 1}")
        for q in range(4)
        for k in range(2)
        if q != k
    ]
    loss = RRCM(0.2)(given)
    loss.backward()
    (a, one), (b, two) = run_ranks(2, _on_ranks, z)
    assert (a + b) / 2 == pytest.approx(loss.item(), rel=1e-9)
    torch.testing.assert_close(torch.cat([one, two], 1) / 2, whole.grad)
