"""He et al. 2025."""

import math

import pytest
import torch

from lightning_contrast.functional.deformation import local_correlation, roughness, warped
from lightning_contrast.objectives import Gemini
from tests.ranks import run_ranks


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def constant(down: float, right: float, n: int = 2, size: int = 6) -> torch.Tensor:
    return torch.tensor([down, right], dtype=torch.float64).reshape(1, 2, 1, 1).expand(n, 2, size, size).clone()


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (2, 3)])
def test_an_integer_shift_is_a_roll_inside_the_mask(down: int, right: int) -> None:
    x = draw(2, 3, 6, 6)
    found, mask = warped(x, constant(down, right))
    rolled = x.roll((-down, -right), (2, 3))
    torch.testing.assert_close(found * mask, rolled * mask)
    assert mask.sum().item() == 2 * (6 - abs(down)) * (6 - abs(right))


def test_half_a_pixel_is_the_mean_of_two() -> None:
    x = draw(1, 1, 4, 4)
    found, _ = warped(x, constant(0, 0.5, 1, 4))
    torch.testing.assert_close(found[..., :3], (x[..., :3] + x[..., 1:]) / 2)


def test_roughness_by_hand() -> None:
    assert roughness(constant(1.5, -2.0)).tolist() == [0, 0]
    ramp = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    ramp[0, 0] = 2.0 * torch.arange(3.0)[:, None]  # downwards 2 a pixel in one of two parts
    assert roughness(ramp).item() == pytest.approx((4 / 2 + 0) / 2)


def test_local_correlation_by_a_double_loop() -> None:
    a, b = draw(1, 1, 5, 4), draw(1, 1, 5, 4, seed=1)
    mask = torch.ones(1, 1, 5, 4, dtype=torch.bool)
    mask[..., 0] = False
    values = []
    for r in range(5):
        for c in range(1, 4):
            where = [(i, j) for i in range(r - 1, r + 2) for j in range(c - 1, c + 2) if 0 <= i < 5 and 0 <= j < 4]
            x, y = ([float(t[0, 0, i, j]) for i, j in where] for t in (a, b))
            mx, my = math.fsum(x) / len(x), math.fsum(y) / len(y)
            cross = math.fsum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / len(x)
            vx, vy = (math.fsum((p - m) ** 2 for p in v) / len(v) for v, m in ((x, mx), (y, my)))
            values.append((cross**2 + 1e-5) / (vx * vy + 1e-5))
    assert local_correlation(a, b, mask, 3).item() == pytest.approx(math.fsum(values) / len(values), rel=1e-9)
    assert local_correlation(a, 2 * a + 3, mask, 3).item() == pytest.approx(1, abs=1e-3)
    assert local_correlation(a, b, ~mask & mask, 3).item() == 1


def test_terms_by_hand() -> None:
    a, b, f, g = draw(2, 1, 6, 6), draw(2, 1, 6, 6, seed=1), draw(2, 3, 6, 6, seed=2), draw(2, 3, 6, 6, seed=3)
    flow = 0.3 * draw(2, 2, 6, 6, seed=4)
    moved, mask = warped(a, flow)
    there = warped(f, flow)[0]
    cosine = torch.nn.functional.cosine_similarity(there, g, dim=1)[:, None]
    alike = torch.stack([cosine[i][mask[i]].mean() for i in range(2)])
    expected = 0.4 * roughness(flow) + 0.8 * 1.1 * (1 - alike) + 1 - local_correlation(moved, b, mask)
    torch.testing.assert_close(Gemini().one_way(a, b, f, g, flow), expected)
    both = (Gemini().one_way(a, b, f, g, flow) + Gemini().one_way(b, a, g, f, -flow)).mean() / 2
    torch.testing.assert_close(Gemini()(a, b, f, g, flow, -flow), both)


def test_only_a_tenth_sends_gradient_into_the_other_side() -> None:
    a, f, g = draw(1, 1, 6, 6), draw(1, 3, 6, 6, seed=2), draw(1, 3, 6, 6, seed=3)
    still = constant(0, 0, 1)

    def gradient(**kwargs: float) -> torch.Tensor:
        there = g.clone().requires_grad_()
        loss = Gemini(0.0, 1.0, 0.0, **kwargs).one_way(a, a, f, there, still).sum()
        return torch.autograd.grad(loss, there, allow_unused=True, materialize_grads=True)[0]

    assert gradient(both=0.0).abs().max() == 0
    torch.testing.assert_close(gradient(both=0.1) * 10, gradient(both=1.0))
    assert gradient(both=0.1).norm() > 0


def test_gradcheck() -> None:
    a, b, f, g = (draw(1, 1, 4, 4, seed=s).requires_grad_() for s in range(4))
    flow = (0.2 * draw(1, 2, 4, 4, seed=5) + 0.4).requires_grad_()

    def loss(f: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return Gemini(window=3)(a.detach(), b.detach(), f, g.detach(), flow, flow)

    # No stop-gradient on f's side may be checked by differences: as fixed side it is detached.
    assert torch.autograd.gradcheck(lambda flow: loss(f.detach(), flow), flow)


def _on_ranks(rank: int, world: int) -> tuple[float, torch.Tensor]:
    args = [draw(4, c, 5, 5, seed=s) for s, c in enumerate((1, 1, 3, 3))]
    flow = (0.3 * draw(4, 2, 5, 5, seed=9)).requires_grad_()
    part = slice(2 * rank, 2 * rank + 2) if world == 2 else slice(None)
    loss = Gemini()(*(t[part] for t in args), flow[part], flow[part])
    loss.backward()
    return loss.item(), flow.grad


def test_two_processes_are_one() -> None:
    """Pairs are judged alone: the mean over processes of equal size is that of all."""
    whole, grad = _on_ranks(0, 1)
    (a, one), (b, two) = run_ranks(2, _on_ranks)
    assert (a + b) / 2 == pytest.approx(whole)
    torch.testing.assert_close((one + two) / 2, grad)


def test_bad_arguments() -> None:
    for bad in ({"smooth": -1}, {"gss": -1}, {"sim": -1}, {"both": -1}, {"window": 4}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
            Gemini(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flow has shape"):
        warped(draw(2, 1, 4, 4), constant(0, 0))
