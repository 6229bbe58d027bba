"""InfoNCE, NT-Xent, CLIP."""

import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Candidates, Contrast
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.temperatures import Learnable
from tests.objective_tester import ObjectiveTester
from tests.ranks import run_ranks


def infonce(logits: list[float], targets: list[float]) -> float | None:
    """Eq. 4 of van den Oord et al., the mean over the positives."""
    positives = [x for x, t in zip(logits, targets, strict=True) if t > 0]
    if not positives:
        return None
    return math.log(math.fsum(map(math.exp, logits))) - math.fsum(positives) / len(positives)


class TestOneWay(ObjectiveTester):
    objective = InfoNCE
    oracle = staticmethod(infonce)


class TestNTXent(ObjectiveTester):
    objective = InfoNCE
    oracle = staticmethod(infonce)
    setting = "views"


class TestThreeViews(ObjectiveTester):
    objective = InfoNCE
    oracle = staticmethod(infonce)
    setting, views = "views", 3


def smoothed(logits: list[float], targets: list[float]) -> float | None:
    """Cross-entropy with the target ``1 - eps + eps / M`` for the positive and ``eps / M`` for the others."""
    m, eps = len(logits), 0.1
    total = math.log(math.fsum(map(math.exp, logits)))
    return math.fsum((eps / m + (1 - eps) * t) * (total - x) for x, t in zip(logits, targets, strict=True))


class TestSmoothed(ObjectiveTester):
    objective = partial(InfoNCE, label_smoothing=0.1)
    oracle = staticmethod(smoothed)


# The published losses, beside plain PyTorch and hand-computed numbers -------------------------------------------------


def data(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_by_hand() -> None:
    eye = torch.eye(2)
    assert InfoNCE(1.0)(Contrast.from_pairs(eye, eye)).item() == pytest.approx(math.log(1 + math.exp(-1)))
    views = Contrast.from_views(torch.stack([eye, eye]))
    assert InfoNCE(1.0)(views).item() == pytest.approx(math.log(1 + 2 * math.exp(-1)))


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.9])
def test_label_smoothing_is_torchs(eps: float) -> None:
    a, b = data(2, 6, 4)
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.2
    rows = torch.arange(6)
    expected = sum(F.cross_entropy(s, rows, label_smoothing=eps) for s in (logits, logits.T)) / 2
    found = InfoNCE(0.2, symmetric=True, label_smoothing=eps)(Contrast.from_pairs(a, b))
    torch.testing.assert_close(found, expected)
    if eps:
        assert found > InfoNCE(0.2, symmetric=True)(Contrast.from_pairs(a, a))


def test_label_smoothing_by_hand() -> None:
    """Two pairs, eps 0.5: targets 0.75 and 0.25, so the loss is log(1 + e^-1) + 0.25."""
    eye = torch.eye(2)
    found = InfoNCE(1.0, label_smoothing=0.5)(Contrast.from_pairs(eye, eye))
    assert found.item() == pytest.approx(math.log(1 + math.exp(-1)) + 0.25)
    for eps in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"label_smoothing={eps}"):
            InfoNCE(label_smoothing=eps)


def test_chance_level() -> None:
    """Where all embeddings are equal the loss is the logarithm of the number of candidates."""
    z = torch.ones(2, 6, 3)
    assert InfoNCE()(Contrast.from_pairs(z[0], z[1])).item() == pytest.approx(math.log(6), rel=1e-5)
    assert InfoNCE()(Contrast.from_views(z)).item() == pytest.approx(math.log(11), rel=1e-5)


@pytest.mark.parametrize("path", ["dense", "tiles"])
def test_clip(path: str) -> None:
    a, b = data(2, 7, 4).requires_grad_().unbind()
    objective = InfoNCE(0.2, symmetric=True)
    objective.path = path  # type: ignore[assignment]
    logits, each = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.2, torch.arange(7)
    expected = (F.cross_entropy(logits, each) + F.cross_entropy(logits.T, each)) / 2
    loss = objective(Contrast.from_pairs(a, b))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, (a, b)), torch.autograd.grad(expected, (a, b)))


def test_nt_xent_is_the_plain_loop() -> None:
    z, tau = data(2, 5, 3), 0.5
    rows = F.normalize(z.reshape(10, 3), dim=1).tolist()
    s = [[math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / tau) for b in rows] for a in rows]
    loss = sum(-math.log(s[i][(i + 5) % 10] / sum(s[i][k] for k in range(10) if k != i)) for i in range(10)) / 10
    assert InfoNCE(tau)(Contrast.from_views(z)).item() == pytest.approx(loss)
    assert InfoNCE(tau, symmetric=True)(Contrast.from_views(z)).item() == pytest.approx(loss)


def test_moco() -> None:
    """Own positive, everybody's queue."""
    q, k, queue = data(4, 3), data(5, 3)[1:], data(9, 3)[:6]
    contrast = Contrast.from_pairs(q, k, in_batch=False)
    contrast = contrast.append(Candidates(queue, name="queue", where="replicated"))
    q, k, queue = (F.normalize(t, dim=1) for t in (q, k, queue))
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], dim=1) / 0.07
    assert InfoNCE(0.07)(contrast).item() == pytest.approx(
        F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)).item()
    )


def test_soft_targets_are_cross_entropy() -> None:
    a, b, target = data(4, 3), data(5, 3)[:4], data(4, 4).softmax(1)
    logits = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / 0.5
    contrast = Contrast.from_pairs(a, b, table=target, column=torch.arange(4)).retarget(lambda p: p.lookup("table"))
    assert InfoNCE(0.5)(contrast).item() == pytest.approx(F.cross_entropy(logits, target).item())
    # Targets that do not sum to 1 count by their share.
    assert InfoNCE(0.5)(contrast.retarget(lambda p: 3 * p.lookup("table"))).item() == pytest.approx(
        F.cross_entropy(logits, target).item()
    )


def test_a_list_of_contrasts_is_the_mean_of_their_losses() -> None:
    one, two = (Contrast.from_pairs(data(n, 3), data(n, 3).flip(0)) for n in (3, 5))
    objective = InfoNCE()
    assert objective([one, two]).item() == pytest.approx((objective(one) + objective(two)).item() / 2)


def test_more_processes_than_one_in_both_directions() -> None:
    alone = clip_share(0, 1, (7,), "none")
    for exchange in ("gather", "ring"):
        for sizes in ((3, 4), (2, 0, 5)):
            shares = run_ranks(len(sizes), clip_share, sizes, exchange)
            world = len(sizes)
            torch.testing.assert_close(torch.cat([s[0] for s in shares], dim=1) / world, alone[0])
            torch.testing.assert_close(sum(s[1] for s in shares) / world, alone[1])


def clip_share(rank: int, world: int, sizes: tuple[int, ...], exchange: str) -> tuple[torch.Tensor, torch.Tensor]:
    start = sum(sizes[:rank])
    z = data(2, 7, 4)[:, start : start + sizes[rank]].clone().requires_grad_()
    objective = InfoNCE(Learnable(0.2), symmetric=True).double()
    objective(Contrast.from_pairs(z[0], z[1]).replace(exchange=exchange)).backward()  # type: ignore[arg-type]
    return z.grad, objective.temperature.log_scale.grad  # type: ignore[union-attr,return-value]
