import math

import pytest
import torch
from oracles import dense_lse, embeddings, relative, weighted

from lightning_contrast.functional import tiling, two_pass
from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.row_lse import row_lse
from lightning_contrast.functional.self_lse import self_lse
from lightning_contrast.functional.symmetric_lse import symmetric_lse

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}


@pytest.fixture
def small_tiles(monkeypatch):
    """Chunks of 7 columns and tiles of 5 rows."""
    from lightning_contrast.functional.two_pass import _Run

    monkeypatch.setattr(tiling, "COLUMN_CHUNK", 7)
    monkeypatch.setattr(_Run, "_row_tiles", lambda run: tiling.spans(0, len(run.a), 5))


def rectangle(n, m, dim, dtype, *, h=0, excluded=False, biased=False, seed=0):
    gen = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    leaves = [
        embeddings(n, dim, seed, dtype),
        embeddings(m, dim, seed + 1, dtype),
        torch.tensor(8.0, dtype=wide),
    ]
    leaves += [torch.randn(n, h, generator=gen, dtype=wide), torch.randn(m, h, generator=gen, dtype=wide)] if h else []
    weights = [torch.rand(n, generator=gen, dtype=wide), torch.rand(m, generator=gen, dtype=wide)]
    exists, exclusion = torch.ones(n, m, dtype=torch.bool), None
    if excluded:
        ids = torch.randint(-1, n, (n + m,), generator=gen)
        exclusion = Exclusion(diagonal=2, same=(ids[:n], ids[n:]))
        exists = (ids[:n, None] != ids[None, n:]) | (ids[:n, None] == -1)
        exists &= torch.arange(n)[:, None] + 2 != torch.arange(m)
        if n > 3:
            exclusion = Exclusion(diagonal=2, same=(ids[:n].index_fill(0, torch.tensor([3]), -1), ids[n:]))
            exists[3] = True
            exists[3, 5:6] = False
    bias = torch.randn(n, m, generator=gen, dtype=wide) if biased else None
    return leaves, weights, exists, exclusion, bias


def check_symmetric(inputs, **options):
    leaves, weights, exists, exclusion, bias = inputs
    tolerance = TOLERANCE[options.get("dtype") or leaves[0].dtype]
    ours = [t.clone().requires_grad_() for t in leaves]
    function = None if bias is None else lambda i, j: bias[slice(*i), slice(*j)]
    extra = dict(zip(("row_logits", "column_logits"), ours[3:], strict=False))
    total, *found = symmetric_lse(
        ours[0], ours[1], *weights, scale=ours[2], exclude=exclusion, bias=function, **extra, **options
    )
    total.backward()
    exact = [t.clone().double().requires_grad_() for t in leaves]
    matrix = exact[2] * exact[0] @ exact[1].t() + (0 if bias is None else bias.double())
    value = torch.zeros((), dtype=torch.float64)
    for k, (scores, there) in enumerate(((matrix, exists), (matrix.t(), exists.t()))):
        if len(exact) > 3:
            scores = torch.cat([scores, exact[3 + k]], 1)
            there = torch.cat([there, torch.ones(exact[3 + k].shape, dtype=torch.bool)], 1)
        expected = dense_lse(scores, there)
        alive = expected > -math.inf
        assert torch.equal(found[k] == -math.inf, ~alive)
        assert relative(found[k][alive], expected[alive]) <= tolerance
        value = value + weighted(expected, weights[k].double())
    value.backward()
    assert relative(total, value) <= tolerance
    for k, (mine, theirs) in enumerate(zip(ours, exact, strict=True)):
        assert relative(mine.grad, theirs.grad) <= tolerance, f"input {k}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("bound", [None, math.inf])
@pytest.mark.parametrize(
    "options",
    [{}, {"h": 2}, {"excluded": True}, {"biased": True}, {"h": 2, "excluded": True, "biased": True}],
    ids=str,
)
def test_symmetric(small_tiles, dtype, store, bound, options):
    inputs = rectangle(23, 31, 64, dtype, **options)
    check_symmetric(inputs, store=store, bound=bound)


@pytest.mark.parametrize("n", [1, 2, 517])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_symmetric_odd_sizes(n, dtype):
    check_symmetric(rectangle(n, n, 128, dtype))


def triangle(n, dim, dtype, *, h=0, excluded=False, biased=False, seed=0):
    gen = torch.Generator().manual_seed(seed)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    leaves = [embeddings(n, dim, seed, dtype), torch.tensor(8.0, dtype=wide)]
    leaves += [torch.randn(n, h, generator=gen, dtype=wide)] if h else []
    exists, options = ~torch.eye(n, dtype=torch.bool), {}
    if excluded:
        ids, keys = torch.randint(-1, n // 2, (n,), generator=gen), torch.randint(0, 3, (n,), generator=gen)
        options["exclude"] = Exclusion(diagonal=0, same=(ids, ids), unless=(keys, keys))
        exists &= ~((ids[:, None] == ids) & (ids != -1) & (keys[:, None] != keys))
    bias = torch.randn(n, n, generator=gen, dtype=wide) if biased else None
    bias = None if bias is None else bias + bias.t()
    return leaves, torch.rand(n, generator=gen, dtype=wide), exists, options, bias


def check_self(inputs, **options):
    leaves, weight, exists, excluded, bias = inputs
    tolerance = TOLERANCE[options.get("dtype") or leaves[0].dtype]
    ours = [t.clone().requires_grad_() for t in leaves]
    function = None if bias is None else lambda i, j: bias[slice(*i), slice(*j)]
    logits = ours[2] if len(ours) > 2 else None
    total, lse = self_lse(ours[0], weight, scale=ours[1], logits=logits, bias=function, **excluded, **options)
    total.backward()
    exact = [t.clone().double().requires_grad_() for t in leaves]
    scores = exact[1] * exact[0] @ exact[0].t() + (0 if bias is None else bias.double())
    if logits is not None:
        scores = torch.cat([scores, exact[2]], 1)
        exists = torch.cat([exists, torch.ones(logits.shape, dtype=torch.bool)], 1)
    expected = dense_lse(scores, exists)
    alive = expected > -math.inf
    value = weighted(expected, weight.double())
    if value.requires_grad:
        value.backward()
    assert torch.equal(lse == -math.inf, ~alive)
    assert relative(lse[alive], expected[alive]) <= tolerance
    assert relative(total, value) <= tolerance
    for k, (mine, theirs) in enumerate(zip(ours, exact, strict=True)):
        wanted = torch.zeros_like(theirs) if theirs.grad is None else theirs.grad
        assert relative(mine.grad, wanted) <= tolerance, f"input {k}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("bound", [None, math.inf])
@pytest.mark.parametrize(
    "options",
    [{}, {"h": 2}, {"excluded": True}, {"biased": True}, {"h": 2, "excluded": True, "biased": True}],
    ids=str,
)
def test_self(small_tiles, dtype, store, bound, options):
    check_self(triangle(33, 64, dtype, **options), store=store, bound=bound)


@pytest.mark.parametrize("n", [1, 2, 517, 1300])
@pytest.mark.parametrize("store", [True, False])
def test_self_odd_sizes(n, store):
    check_self(triangle(n, 32, torch.float32), store=store)


def test_self_of_two_is_the_only_score():
    # Each anchor has one candidate: lse = z1 . z2, and the gradient of the sum is twice the partner.
    z = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    total, lse = self_lse(z, torch.ones(2))
    total.backward()
    torch.testing.assert_close(lse, torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(z.grad, torch.tensor([[6.0, -2.0], [2.0, 4.0]]))


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("bound", [None, math.inf])
def test_gradcheck(small_tiles, store, bound):
    (a, b, scale, x, y), (w, v), _, exclusion, _ = rectangle(11, 9, 3, torch.float64, h=1, excluded=True)
    leaves = [t.requires_grad_() for t in (a, b, w, v, scale, x, y)]

    def both(a, b, w, v, scale, x, y):
        return symmetric_lse(
            a,
            b,
            w,
            v,
            scale=scale,
            row_logits=x,
            column_logits=y,
            exclude=exclusion,
            store=store,
            bound=bound,
        )

    def one(z, w, scale, x):
        return self_lse(z, w, scale=scale, logits=x, store=store, bound=bound)

    assert torch.autograd.gradcheck(both, leaves)
    assert torch.autograd.gradcheck(one, [a, w, scale, x])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("temperature", [0.1, 0.01])
def test_all_paths_agree(monkeypatch, threads, temperature):
    monkeypatch.setattr(tiling, "PARALLEL_ENTRIES", 0)
    n, scale = 1100, torch.tensor(1 / temperature, dtype=torch.float64)
    z, weight = embeddings(n, 16, 0, torch.float64), torch.rand(n, dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    results = []
    for path in ("row", "symmetric", "symmetric stored", "self", "self stored"):
        x, s = z.clone().requires_grad_(), scale.clone().requires_grad_()
        if path == "row":
            value = row_lse(x, [x], weight, scale=s, exclude=[Exclusion(diagonal=0)])[0]
        elif path.startswith("symmetric"):
            value = symmetric_lse(
                x, x, weight, weight, scale=s, exclude=Exclusion(diagonal=0), store=path.endswith("stored")
            )[0]
            value = value / 2
        else:
            value = self_lse(x, weight, scale=s, store=path.endswith("stored"))[0]
        value.backward()
        results.append((value.detach(), x.grad, s.grad))
    torch.set_num_threads(before)
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_finite_in_low_precision(dtype, temperature):
    scale = torch.tensor(1 / temperature)
    for n in (1024, 4096 if temperature == 0.01 else 2048):
        z = embeddings(n, 16, 0, dtype).requires_grad_()
        y = embeddings(n, 16, 0, dtype).requires_grad_()
        weight = torch.full((n,), 1 / n)
        for total, *rows in (
            self_lse(z, weight, scale=scale),
            symmetric_lse(z, y, weight, weight, scale=scale),
        ):
            total.backward()
            assert all(torch.isfinite(t).all() for t in (total, *rows, z.grad))
        assert torch.isfinite(y.grad).all()


def test_far_apart_rows_need_their_own_maxima():
    # Row 0 sees logits near -200, row 1 near +200: one shift for both would lose one of them.
    a = torch.tensor([[-50.0, 1.0], [50.0, -1.0]])
    b = torch.tensor([[4.0, 0.5], [4.0, -0.5]])
    check_symmetric(
        (
            [a.detach(), b.detach(), torch.tensor(1.0)],
            [torch.ones(2)] * 2,
            torch.ones(2, 2).bool(),
            None,
            None,
        )
    )


def test_rows_without_candidates():
    z = embeddings(3, 4, 0).requires_grad_()
    ids = torch.tensor([5, 5, 5])
    total, lse = self_lse(z, torch.ones(3), exclude=Exclusion(same=(ids, ids)))
    total.backward()
    assert total == 0
    assert torch.equal(lse, torch.full((3,), -math.inf))
    assert torch.equal(z.grad, torch.zeros(3, 4))


@pytest.mark.parametrize("kernel", [self_lse, lambda z, w: symmetric_lse(z, z, w, w)])
def test_empty_not_a_number_and_second_derivative(kernel):
    total = kernel(torch.zeros(0, 3, requires_grad=True), torch.zeros(0))[0]
    total.backward()
    assert total == 0
    for poison in (math.inf, math.nan):
        z = embeddings(5, 3, 0)
        z[2, 1] = poison
        assert not torch.isfinite(kernel(z, torch.ones(5))[0])
    z = embeddings(5, 3, 0).requires_grad_()
    grad = torch.autograd.grad(kernel(z, torch.ones(5))[0], z, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


def test_bad_input():
    z = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="must share dimension and device"):
        symmetric_lse(z, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"column_weight must have shape \[4\]"):
        symmetric_lse(z, z, torch.ones(4), torch.ones(5))
    with pytest.raises(ValueError, match=r"scale must have shape \[\]"):
        self_lse(z, torch.ones(4), scale=torch.ones(4))
    with pytest.raises(ValueError, match=r"logits must be \[4, H\]"):
        self_lse(z, torch.ones(4), logits=torch.ones(4))
    with pytest.raises(ValueError, match=r"z must be \[n, D\]"):
        self_lse(torch.zeros(3))


def test_threads_find_the_maxima_of_the_rows_already_there():
    """Made by the first thread that came, they were lost when a second one came in the meantime."""
    z = embeddings(8, 4, 0, torch.float64)
    for shift_free in (False, True):
        kernel = two_pass.TwoPass(False, None, None, shift_free, None, None)
        assert (two_pass._Run(kernel, [z, z, None, None, None], True).rows.top is None) == shift_free
