"""Every path beside a plain float64 double loop, in value and gradient, in every precision."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from lightning_contrast.contrast import Candidates, Contrast, evaluate
from lightning_contrast.contrast import tiles as tiles_module
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.contrast.scenes import SUMS, WHOLE, everything, leaves

N, DIM, TAU, TINY = 9, 6, 0.1, 1e-30
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-2}
PATHS = pytest.mark.parametrize("path", ["kernels", "dense", "tiles"])
INDEX, LABEL = torch.tensor([0, 1, 2, 3, 4, 0, 6, 7, 8]), torch.arange(N) % 4
TIME = torch.arange(N) * torch.tensor(0.3, dtype=torch.float64)
HEAT = torch.linspace(0.05, 0.4, N, dtype=torch.float64)


@pytest.fixture
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles_module, "TILE_ENTRIES", 30)


def three(dtype: torch.dtype) -> list[Tensor]:
    z = torch.randn(3, N, DIM, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z[1] = z[0] + 0.7 * z[1]
    return [t.to(dtype).requires_grad_() for t in z]


Listed = list[list[tuple[Tensor, float, float, float]]]
"""For each anchor: (logit, target, log-weight) of the pairs that exist."""


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a.norm() * b.norm())


def rows_loss(rows: list[list[tuple[Tensor, float, float]]]) -> Tensor:
    """The mean over anchors that have a positive, by loops over scalars."""
    losses = []
    for row in rows:
        mass = math.fsum(t for _, t, _ in row)
        if mass <= 0:
            continue
        top = max(float(x.detach()) + w for x, _, w in row)
        total = torch.stack([torch.exp(x + w - top) for x, _, w in row]).sum()
        losses.append(total.log() + top - torch.stack([t * x for x, t, _ in row]).sum() / mass)
    return torch.stack(losses).mean()


def looped(
    a: Tensor,
    b: Tensor,
    *,
    more: Tensor | None = None,
    tau: Callable[[int], float] = lambda i: TAU,
    exists: Callable[[int, int], bool] = lambda i, j: True,
    target: Callable[[int, int], float] = lambda i, j: float(i == j),
    weight: Callable[[int, int], float] = lambda i, j: 0.0,
) -> Tensor:
    """Anchors ``a`` against ``b`` and further candidates without positives."""
    rows = []
    for i in range(len(a)):
        row = [(cosine(a[i], b[j]) / tau(i), target(i, j), weight(i, j)) for j in range(len(b)) if exists(i, j)]
        row += [] if more is None else [(cosine(a[i], c) / tau(i), 0.0, 0.0) for c in more]
        rows.append(row)
    return rows_loss(rows)


def new(i: int, j: int) -> bool:
    return i == j or int(INDEX[i]) != int(INDEX[j])


def kernel_of(i: int, j: int) -> float:
    return math.exp(-abs(float(TIME[i]) - float(TIME[j])))


Scene = tuple[Callable[..., Any], Callable[..., Contrast], Callable[[Tensor, Tensor, Tensor], Tensor]]
SCENES: dict[str, Scene] = {
    "pairs": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: Contrast.from_pairs(a, b, index=INDEX),
        lambda a, b, q: looped(a, b, exists=new),
    ),
    "symmetric": (
        lambda: InfoNCE(TAU, symmetric=True),
        lambda a, b, q: Contrast.from_pairs(a, b),
        lambda a, b, q: (looped(a, b) + looped(b, a)) / 2,
    ),
    "views": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: Contrast.from_views(torch.stack([a, b])),
        lambda a, b, q: looped(
            torch.cat([a, b]),
            torch.cat([a, b]),
            exists=lambda i, j: i != j,
            target=lambda i, j: float(i % N == j % N and i != j),
        ),
    ),
    "labels": (
        lambda: SupCon(TAU),
        lambda a, b, q: Contrast.from_views(torch.stack([a, b]), label=LABEL),
        lambda a, b, q: looped(
            torch.cat([a, b]),
            torch.cat([a, b]),
            exists=lambda i, j: i != j,
            target=lambda i, j: float(LABEL[i % N] == LABEL[j % N]),
        ),
    ),
    "queue": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: Contrast.from_pairs(a, b, in_batch=False).append(
            Candidates(q, name="queue", where="replicated")
        ),
        lambda a, b, q: looped(a, b, more=q, exists=lambda i, j: i == j),
    ),
    "log-weights, two blocks": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: (
            Contrast.from_pairs(a, b, time=TIME)
            .append(Candidates(q, name="more"))
            .add_log_weight(lambda p: -p.candidate.time.expand(p.shape), on=["positive"])
        ),
        lambda a, b, q: looped(a, b, more=q, weight=lambda i, j: -float(TIME[j])),
    ),
    "excluded": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: Contrast.from_pairs(a, b, time=TIME).exclude(
            lambda p: ((p.anchor.time - p.candidate.time).abs() < 0.4) & ~p.same("position")
        ),
        lambda a, b, q: looped(a, b, exists=lambda i, j: i == j or abs(float(TIME[i] - TIME[j])) >= 0.4),
    ),
    "soft targets": (
        lambda: InfoNCE(TAU),
        lambda a, b, q: Contrast.from_pairs(a, b, time=TIME).retarget(
            lambda p: torch.exp(-(p.anchor.time - p.candidate.time).abs())
        ),
        lambda a, b, q: looped(a, b, target=kernel_of),
    ),
    "a temperature an anchor": (
        lambda: InfoNCE(),
        lambda a, b, q: Contrast.from_pairs(a, b).replace(temperature=HEAT.clone()),
        lambda a, b, q: looped(a, b, tau=lambda i: float(HEAT[i])),
    ),
    "a temperature a candidate": (
        lambda: InfoNCE(),
        lambda a, b, q: Contrast.from_pairs(a, b, heat=HEAT).replace(temperature=lambda p: p.candidate.heat),
        lambda a, b, q: rows_loss(
            [[(cosine(a[i], b[j]) / float(HEAT[j]), float(i == j), 0.0) for j in range(N)] for i in range(N)]
        ),
    ),
}


def near(found: Tensor, expected: Tensor, tolerance: float, largest: float | None = None) -> None:
    """Within so much of the largest entry."""
    largest = float(expected.abs().max()) if largest is None else largest
    assert float((found.double() - expected).abs().max()) <= tolerance * max(largest, TINY)


@pytest.mark.usefixtures("_small_tiles")
@PATHS
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("name", SCENES)
def test_value_and_gradient_of_the_double_loop(name: str, dtype: torch.dtype, path: Any) -> None:
    make, build, loop = SCENES[name]
    objective, z = make(), three(dtype)
    objective.path = path
    loss = objective(build(*z))
    loss.backward()
    exact = [t.detach().double().requires_grad_() for t in z]
    expected = loop(*exact)
    expected.backward()
    near(loss.detach(), expected.detach(), TOLERANCE[dtype])
    largest = max(float(t.grad.abs().max()) for t in exact if t.grad is not None)
    for mine, theirs in zip(z, exact, strict=True):
        if theirs.grad is not None:
            assert mine.grad is not None
            near(mine.grad, theirs.grad, TOLERANCE[dtype], largest)


@pytest.mark.usefixtures("_small_tiles")
@PATHS
@pytest.mark.parametrize("name", SCENES)
def test_gradcheck(name: str, path: Any) -> None:
    make, build, _ = SCENES[name]
    objective = make().double()
    objective.path = path
    z = three(torch.float64)
    # A second backward of a kernel runs it again, in another order of sums.
    assert torch.autograd.gradcheck(lambda *t: objective(build(*t)), z, fast_mode=True, nondet_tol=1e-10, atol=1e-6)


@pytest.mark.usefixtures("_small_tiles")
@pytest.mark.parametrize("path", ["dense", "tiles"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("name", [*SUMS, *WHOLE])
def test_reductions_in_lower_precision(name: str, dtype: torch.dtype, path: Any) -> None:
    """Their float64 values and gradients are those of a plain loop: test_scores.py."""
    reduce, found = {**SUMS, **WHOLE}[name][0], []
    for kind in (torch.float64, dtype):
        z = [t.detach().to(dtype).to(kind).requires_grad_() for t in leaves()]
        loss = evaluate(everything(*z), lambda s: reduce(s) + 0 * s.logsumexp(), path=path).loss
        found.append((loss.detach(), *torch.autograd.grad(loss, z)))
    (expected, *gradients), (value, *others) = found
    near(value, expected, TOLERANCE[dtype])
    largest = max(float(g.abs().max()) for g in gradients)
    for mine, theirs in zip(others, gradients, strict=True):
        near(mine, theirs, TOLERANCE[dtype], largest)


# bfloat16 products ------------------------------------------------------------------------------------------------


def hard(kind: str, n: int, dim: int) -> list[Tensor]:
    """Pairs as training makes them: trained a little, trained well, and in eight clusters of hard negatives."""
    draw = lambda *s: torch.randn(*s, generator=generator, dtype=torch.float64)  # noqa: E731
    generator = torch.Generator().manual_seed(1)
    a = draw(n, dim)
    if kind == "clusters":
        a = 0.6 * a + draw(8, dim)[torch.arange(n) % 8]
    b = a + {"a little": 1.0, "well": 0.3, "clusters": 0.2}[kind] * draw(n, dim)
    return [t.bfloat16() for t in (a, b)]


def exact_loss(how: str, a: Tensor, b: Tensor, tau: float) -> Tensor:
    a, b, n = normalize(a, dim=1), normalize(b, dim=1), len(a)
    if how == "views":
        z = torch.cat([a, b])
        return cross_entropy((z @ z.T / tau).fill_diagonal_(-math.inf), (torch.arange(2 * n) + n) % (2 * n))
    logits = a @ b.T / tau
    one = cross_entropy(logits, torch.arange(n))
    return one if how == "pairs" else (one + cross_entropy(logits.T, torch.arange(n))) / 2


@PATHS
@pytest.mark.parametrize(("tau", "dim"), [(0.2, 64), (0.07, 128), (0.04, 64)])
@pytest.mark.parametrize("kind", ["a little", "well", "clusters"])
@pytest.mark.parametrize("how", ["pairs", "symmetric", "views"])
def test_gradients_of_bfloat16_embeddings(how: str, kind: str, tau: float, dim: int, path: Any) -> None:
    """From 2^22 scores on the kernels multiply in bfloat16; the loss may be small, and its gradient a small difference."""
    if kind == "well" and tau == 0.04:
        pytest.skip("the loss is 1e-5: its gradient is below what float32 knows of p - 1")
    n = {"kernels": 2048}.get(path, 512) // (1 + (how == "views"))
    a, b = hard(kind, n, dim)
    z = [t.clone().requires_grad_() for t in (a, b)]
    objective = InfoNCE(tau, symmetric=how == "symmetric")
    objective.path = path
    loss = objective(
        Contrast.from_views(torch.stack(z), index=torch.arange(n)) if how == "views" else Contrast.from_pairs(*z)
    )
    loss.backward()
    exact = [t.double().requires_grad_() for t in (a, b)]
    expected = exact_loss(how, *exact, tau)
    expected.backward()
    near(loss.detach(), expected.detach(), 1e-2)
    for mine, theirs in zip(z, exact, strict=True):
        near(mine.grad, theirs.grad, 1e-2)  # type: ignore[arg-type]


@PATHS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("how", ["pairs", "symmetric", "views"])
def test_finite_at_4096(how: str, dtype: torch.dtype, path: Any) -> None:
    if how != "pairs" and path != "kernels":
        pytest.skip("elsewhere they are pairs, in both directions or twice as many")
    n = 2048 if how == "views" else 4096
    a, b = hard("well", n, 16)
    a[1], b[2] = a[0], -a[2]  # equal rows, and a partner on the other side
    a[3] = 0
    z = [t.to(dtype).requires_grad_() for t in (a, b)]
    objective = InfoNCE(0.01, symmetric=how == "symmetric")
    objective.path = path
    loss = objective(Contrast.from_views(torch.stack(z)) if how == "views" else Contrast.from_pairs(*z))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss > 0
    for t in z:
        assert t.grad is not None
        assert torch.isfinite(t.grad).all()
        assert t.grad.any()


# Bad input --------------------------------------------------------------------------------------------------------

OTHER = "cpu" if torch.get_default_device().type != "cpu" else "meta"


def wrong_shape(pair: Any) -> Tensor:
    return pair.candidate.time.flatten()


def says_yes(pair: Any) -> Tensor:
    return torch.ones(pair.shape)


def with_bad_row(value: float) -> Callable[[Tensor, Tensor], Contrast]:
    def build(a: Tensor, b: Tensor) -> Contrast:
        bad = b.detach().clone()
        bad[3, 1] = value
        return Contrast.from_pairs(a, bad)

    return build


BAD: dict[str, tuple[type[Exception], str, Callable[[Tensor, Tensor], Contrast]]] = {
    "width": (ValueError, "has width 5, the anchors have 6", lambda a, b: Contrast.from_pairs(a, b[:, :5])),
    "width of a later block": (
        ValueError,
        "Block 'queue' .* has width 5",
        lambda a, b: Contrast.from_pairs(a, b).append(Candidates(b[:, :5], name="queue", where="replicated")),
    ),
    "device": (ValueError, "one device", lambda a, b: Contrast.from_pairs(a, b.detach().to(OTHER))),
    "integers": (ValueError, "must be floating point", lambda a, b: Contrast.from_pairs(a, b.detach().long())),
    "NaN": (ValueError, "non-finite embeddings .1 of 9 rows", with_bad_row(math.nan)),
    "infinity": (ValueError, "non-finite embeddings .1 of 9 rows", with_bad_row(math.inf)),
    "log-weight of a wrong shape": (
        ValueError,
        r"wrong_shape returned shape \[\d+\] on block 'positive'",
        lambda a, b: Contrast.from_pairs(a, b, time=TIME).add_log_weight(wrong_shape),
    ),
    "exclusion of a wrong shape": (
        ValueError,
        r"wrong_shape returned shape \[\d+\] on block 'positive'",
        lambda a, b: Contrast.from_pairs(a, b, time=TIME).exclude(wrong_shape),
    ),
    "exclusion that is no mask": (
        TypeError,
        "says_yes excludes pairs .* must return bool",
        lambda a, b: Contrast.from_pairs(a, b).exclude(says_yes),
    ),
    "target of a wrong shape": (
        ValueError,
        r"wrong_shape returned shape \[\d+\] on block 'positive'",
        lambda a, b: Contrast.from_pairs(a, b, time=TIME).retarget(wrong_shape),
    ),
    "a number instead of a tensor": (
        TypeError,
        "must return a tensor on block 'positive', got float",
        lambda a, b: Contrast.from_pairs(a, b).add_log_weight(lambda p: 1.0),
    ),
    "a missing payload": (
        KeyError,
        "Block 'positive' has no payload 'time'",
        lambda a, b: Contrast.from_pairs(a, b).add_log_weight(lambda p: p.candidate.time),
    ),
    "a negative target": (
        ValueError,
        "must be >= 0",
        lambda a, b: Contrast.from_pairs(a, b, time=-1 - TIME).retarget(lambda p: p.candidate.time.expand(p.shape)),
    ),
    "temperature 0": (
        ValueError,
        "must be > 0",
        lambda a, b: Contrast.from_pairs(a, b).replace(temperature=torch.zeros(N)),
    ),
    "temperatures of a wrong shape": (
        ValueError,
        r"has shape \[8\]",
        lambda a, b: Contrast.from_pairs(a, b).replace(temperature=torch.ones(8)),
    ),
}


@pytest.mark.usefixtures("_small_tiles")
@PATHS
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told(name: str, path: Any) -> None:
    kind, says, build = BAD[name]
    a, b, _ = three(torch.float32)
    objective = InfoNCE(TAU)
    objective.path = path
    with pytest.raises(kind, match=says):
        objective(build(a, b))


@pytest.mark.usefixtures("_small_tiles")
@PATHS
@pytest.mark.parametrize("how", ["excluded", "weightless"])
def test_an_anchor_without_candidates_is_left_out_and_counted(how: str, path: Any) -> None:
    a, b, _ = three(torch.float64)
    out = torch.arange(N) == 4
    contrast = Contrast.from_pairs(a, b, out=out).replace(temperature=TAU)
    if how == "excluded":
        contrast = contrast.exclude(lambda p: p.anchor.out.expand(p.shape))
    else:
        contrast = contrast.add_log_weight(lambda p: torch.where(p.anchor.out, -torch.inf, 0.0).expand(p.shape))
    objective = InfoNCE(TAU)
    objective.path = path
    result = objective.evaluate(objective.prepare(contrast))
    result.loss.backward()
    assert (int(result.anchors), int(result.left_out)) == (N - 1, 1)
    with torch.no_grad():
        keep = [i for i in range(N) if i != 4]
        expected = rows_loss([[(cosine(a[i], b[j]) / TAU, float(i == j), 0.0) for j in range(N)] for i in keep])
    torch.testing.assert_close(result.loss.detach(), expected)
    assert not a.grad[4].any()
    assert torch.isfinite(a.grad).all()
    assert torch.isfinite(b.grad).all()


@PATHS
@pytest.mark.parametrize("name", SCENES)
def test_second_derivatives_are_right_or_refused(name: str, path: Any) -> None:
    make, build, loop = SCENES[name]
    objective, z = make().double(), three(torch.float64)
    objective.path = path

    def penalty(loss: Tensor, leaf: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(loss, leaf, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), leaf)[0]

    if path == "dense":
        torch.testing.assert_close(penalty(objective(build(*z)), z[0]), penalty(loop(*z), z[0]))
        return
    with pytest.raises((RuntimeError, ValueError), match="path='dense'"):
        penalty(objective(build(*z)), z[0])


@PATHS
def test_blocks_take_the_precision_of_the_anchors(path: Any) -> None:
    """Documented, not refused: a queue may be stored narrower, a frozen teacher may be wider."""
    a, b, q = three(torch.float32)
    objective = InfoNCE(TAU)
    objective.path = path
    expected = objective(Contrast.from_pairs(a, b).append(Candidates(q, name="queue", where="replicated")))
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 1e-2)):
        queue = Candidates(q.detach().to(dtype), name="queue", where="replicated")
        loss = objective(Contrast.from_pairs(a, b.to(dtype)).append(queue))
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected, rtol=tolerance, atol=0.0)
