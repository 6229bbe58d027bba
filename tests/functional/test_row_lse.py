import math

import pytest
import torch
from oracles import dense_lse, embeddings, looped_lse, relative, weighted

from lightning_contrast.functional import tiling
from lightning_contrast.functional.exclusion import Exclusion
from lightning_contrast.functional.row_lse import row_lse

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles so small that few rows already need many of them, the last ones ragged."""
    monkeypatch.setattr(tiling, "COLUMN_CHUNK", 7)
    monkeypatch.setattr("lightning_contrast.functional.one_pass.row_tiles", lambda n, *_: tiling.spans(0, n, 5))


def test_dense_oracle_equals_the_double_loop():
    logits, exists = torch.randn(6, 9, dtype=torch.float64) * 20, torch.rand(6, 9) > 0.4
    exists[2] = False
    torch.testing.assert_close(dense_lse(logits, exists), looped_lse(logits, exists))


def test_hand_computed():
    # Two anchors, two candidates, logits [[0, ln 3], [0, 0]]: log 4 and log 2; softmax [[1/4, 3/4], [1/2,
    # 1/2]].
    a = torch.tensor([[math.log(3.0)], [0.0]], requires_grad=True)
    b = torch.tensor([[0.0], [1.0]], requires_grad=True)
    total, lse = row_lse(a, [b], torch.tensor([1.0, 2.0]))
    total.backward()
    torch.testing.assert_close(lse, torch.tensor([math.log(4.0), math.log(2.0)]))
    torch.testing.assert_close(total, torch.tensor(math.log(16.0)))
    torch.testing.assert_close(a.grad, torch.tensor([[0.75], [1.0]]))  # w_i sum_j P_ij b_j
    torch.testing.assert_close(b.grad, math.log(3.0) * torch.tensor([[0.25], [0.75]]))


def case(n, sizes, dim, dtype, *, temperature=0.1, per_anchor=False, h=0, excluded="none", biased=False, seed=0):
    """Inputs of the kernel, the existing pairs and the bias, all blocks side by side."""
    gen = torch.Generator().manual_seed(seed)
    a, blocks = (
        embeddings(n, dim, seed, dtype),
        [embeddings(m, dim, seed + 1 + k, dtype) for k, m in enumerate(sizes)],
    )
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.full((n,), 1 / temperature, dtype=wide) * (1 + torch.rand(n, generator=gen, dtype=wide))
    scale = scale if per_anchor else scale[0].clone() if n else torch.tensor(1 / temperature, dtype=wide)
    logits = torch.randn(n, h, generator=gen, dtype=wide) if h else None
    weight = torch.rand(n, generator=gen, dtype=wide)
    total = sum(sizes)
    exists, exclusions = torch.ones(n, total, dtype=torch.bool), [None] * len(sizes)
    if excluded != "none" and sizes:
        ids = torch.randint(-1, 4 if excluded == "many" else 3 * n, (n + sizes[0],), generator=gen)
        keys = torch.randint(0, 6, (n + sizes[0],), generator=gen)
        exclusions[0] = Exclusion(diagonal=1, same=(ids[:n], ids[n:]), unless=(keys[:n], keys[n:]))
        for i in range(n):
            for j in range(sizes[0]):
                same = int(ids[i]) == int(ids[n + j]) != -1 and int(keys[i]) != int(keys[n + j])
                exists[i, j] = not (same or j == i + 1)
    bias = torch.randn(n, total, generator=gen, dtype=wide) if biased else None
    if bias is not None:
        bias[torch.rand(n, total, generator=gen) < 0.2] = -math.inf
    return a, blocks, scale, logits, weight, exists, exclusions, bias


def check(inputs, *, queue=(), **options):
    a, blocks, scale, logits, weight, exists, exclusions, bias = inputs
    tolerance = TOLERANCE[options.get("dtype") or a.dtype]
    leaves = [a, *blocks, scale, *([logits] if logits is not None else [])]
    ours = [t.clone().requires_grad_() for t in leaves]
    for k in queue:
        ours[1 + k].requires_grad_(False)
    offsets = [0, *torch.tensor([len(b) for b in blocks]).cumsum(0).tolist()]
    function = None
    if bias is not None:
        function = lambda k, i, j: bias[slice(*i), offsets[k] + j[0] : offsets[k] + j[1]]  # noqa: E731
    count = 1 + len(blocks)
    total, lse = row_lse(
        ours[0],
        ours[1:count],
        weight,
        scale=ours[count],
        logits=ours[count + 1] if logits is not None else None,
        exclude=exclusions,
        bias=function,
        **options,
    )
    total.backward()

    exact = [t.clone().double().requires_grad_() for t in leaves]
    s = exact[count][:, None] if scale.ndim else exact[count]
    matrix = torch.cat([s * exact[0] @ b.t() for b in exact[1:count]], 1) if blocks else torch.zeros(len(a), 0).double()
    there = exists
    if bias is not None:
        matrix, there = matrix + bias.double().clamp(min=-1e3), exists & (bias > -math.inf)
    if logits is not None:
        matrix = torch.cat([matrix, exact[count + 1]], 1)
        there = torch.cat([there, torch.ones(logits.shape, dtype=torch.bool)], 1)
    expected = dense_lse(matrix, there)
    value = weighted(expected, weight.double())
    value.backward()
    alive = expected > -math.inf
    assert torch.equal(lse == -math.inf, ~alive)
    assert relative(lse[alive], expected[alive].detach()) <= tolerance
    assert relative(total, value.detach()) <= tolerance
    for k, (mine, theirs) in enumerate(zip(ours, exact, strict=True)):
        if not mine.requires_grad:
            assert mine.grad is None
            continue
        assert mine.grad is not None, k
        assert mine.grad.dtype == mine.dtype
        wanted = theirs.grad if theirs.grad is not None else torch.zeros_like(theirs)
        assert relative(mine.grad, wanted) <= tolerance, f"input {k}"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_anchor": True},
        {"h": 3},
        {"excluded": "few"},
        {"excluded": "many"},
        {"biased": True},
        {"per_anchor": True, "h": 2, "excluded": "few", "biased": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("bound", [None, math.inf])
def test_value_and_gradients(small_tiles, dtype, options, bound):
    # Eight dimensions give cosines near 1, and a logit of 20 is known to 0.04 in bfloat16: a softer
    # temperature there.
    temperature = 0.4 if dtype == torch.bfloat16 else 0.1
    check(case(23, [23, 16], 8, dtype, temperature=temperature, **options), bound=bound)


@pytest.mark.parametrize("bound", [None, math.inf])
@pytest.mark.parametrize("queue", [(0,), (1,), (0, 1)])
def test_blocks_without_gradient_stream(small_tiles, queue, bound):
    check(case(23, [30, 41], 8, torch.float32, h=2, excluded="few", temperature=0.05), queue=queue, bound=bound)


@pytest.mark.parametrize(
    ("n", "dtype"),  # of a single anchor nothing averages out what bfloat16 rounds
    [(1, torch.float32), (2, torch.float32), (517, torch.float32), (2, torch.bfloat16), (517, torch.bfloat16)],
)
def test_odd_sizes(n, dtype):
    check(case(n, [n, 3], 128, dtype, temperature=0.1))


def test_products_in_bfloat16_of_float32_inputs():
    check(case(517, [1500], 128, torch.float32, temperature=0.1), dtype=torch.bfloat16)


def test_queue_in_bfloat16_storage():
    a, blocks, *rest = case(64, [64, 3000], 32, torch.float32)
    check((a, [blocks[0], blocks[1].bfloat16()], *rest), queue=(1,))


def test_only_given_logits():
    check(case(6, [], 4, torch.float32, h=5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bound", [0.0, math.inf])
def test_rows_without_candidates(dtype, bound):
    a, b = embeddings(5, 4, 0, dtype).requires_grad_(), embeddings(1, 4, 1, dtype).requires_grad_()
    same = (torch.tensor([7, 1, 2, 7, 3]), torch.tensor([7]))
    weight = torch.ones(5, requires_grad=True)
    total, lse = row_lse(a, [b], weight, exclude=[Exclusion(same=same)], bound=bound)
    (total + lse[1]).backward()
    assert torch.equal(lse == -math.inf, torch.tensor([True, False, False, True, False]))
    assert torch.isfinite(total)
    assert torch.equal(a.grad[[0, 3]], torch.zeros(2, 4, dtype=dtype))
    assert torch.equal(weight.grad[[0, 3]], torch.zeros(2))
    torch.testing.assert_close(a.grad[1], 2 * b[0].detach(), atol=1e-6, rtol=1e-2)
    torch.testing.assert_close(b.grad[0], (2 * a[1] + a[2] + a[4]).detach(), atol=1e-2, rtol=1e-2)


def test_empty_anchors_and_candidates():
    a, b = torch.zeros(0, 4, requires_grad=True), embeddings(3, 4, 0).requires_grad_()
    total, lse = row_lse(a, [b], torch.zeros(0))
    total.backward()
    assert total == 0
    assert lse.shape == (0,)
    assert torch.equal(b.grad, torch.zeros(3, 4))
    total, lse = row_lse(b, [a], torch.ones(3))
    assert total == 0
    assert torch.equal(lse, torch.full((3,), -math.inf))


@pytest.mark.parametrize("per_anchor", [False, True])
@pytest.mark.parametrize("bound", [None, math.inf])
def test_gradcheck_total_and_rows(small_tiles, per_anchor, bound):
    a, (b, c), scale, logits, weight, _, exclusions, _ = case(
        11, [12, 8], 3, torch.float64, per_anchor=per_anchor, h=2, excluded="few", temperature=1.0
    )
    leaves = [t.requires_grad_() for t in (a, b, c, scale, logits, weight)]

    def function(a, b, c, scale, logits, weight):
        return row_lse(a, [b, c], weight, scale=scale, logits=logits, exclude=exclusions, bound=bound)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradcheck(lambda *x: function(*x[:5], None), leaves[:5])


def test_tiles_and_threads_do_not_change_the_result(monkeypatch):
    a, (b,), scale, _, weight, _, (exclusion,), _ = case(300, [300], 16, torch.float64, excluded="few")
    results = []
    for size, chunk, threads in ((300, 1024, 1), (64, 100, 1), (7, 33, 1), (64, 100, 2), (16, 64, 3)):
        monkeypatch.setattr(tiling, "COLUMN_CHUNK", chunk)
        monkeypatch.setattr(tiling, "PARALLEL_ENTRIES", 0)
        cut = lambda n, *_, size=size: tiling.spans(0, n, size)  # noqa: E731
        monkeypatch.setattr("lightning_contrast.functional.one_pass.row_tiles", cut)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        x, y = a.clone().requires_grad_(), b.clone().requires_grad_()
        total, lse = row_lse(x, [y], weight, scale=scale, exclude=[exclusion])
        total.backward()
        assert torch.get_num_threads() == threads
        torch.set_num_threads(before)
        results.append((total.detach(), lse.detach(), x.grad, y.grad))
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_finite_in_low_precision(dtype, temperature):
    a, b = embeddings(1024, 32, 0, dtype).requires_grad_(), embeddings(4096, 32, 1, dtype).requires_grad_()
    scale = torch.tensor(1 / temperature, requires_grad=True)
    total, lse = row_lse(a, [b], torch.full((1024,), 1 / 1024), scale=scale)
    total.backward()
    for t in (total, lse, a.grad, b.grad, scale.grad):
        assert torch.isfinite(t).all()
    assert a.grad.abs().max() > 0


def test_identical_embeddings_at_low_temperature():
    a = torch.ones(8, 4).mul(0.5).requires_grad_()
    total, lse = row_lse(a, [a.detach().clone()], torch.ones(8), scale=torch.tensor(1000.0))
    total.backward()
    torch.testing.assert_close(lse, torch.full((8,), 1000.0 + math.log(8)))
    assert torch.isfinite(a.grad).all()


def test_nothing_hides_not_a_number():
    for poison in (math.nan, math.inf):
        for n in (4, 700):
            a, b = embeddings(n, 4, 0), embeddings(n, 4, 1)
            a[1, 0] = poison
            a.requires_grad_()
            total, _ = row_lse(a, [b], torch.ones(n))
            total.backward()
            assert not torch.isfinite(total)
            assert not torch.isfinite(a.grad).all()


def test_excluded_candidates_get_exactly_no_gradient():
    for bound in (10.0, math.inf):
        a, b = embeddings(6, 4, 0).requires_grad_(), embeddings(6, 4, 1).requires_grad_()
        same = (torch.zeros(6, dtype=torch.int64), torch.tensor([1, 1, 0, 1, 1, 1]))
        row_lse(a, [b], torch.ones(6), exclude=[Exclusion(same=same)], bound=bound)[0].backward()
        assert torch.equal(b.grad[2], torch.zeros(4))
        assert (b.grad[[0, 1, 3, 4, 5]].abs().sum(1) > 0).all()


def test_upstream_factor_retained_graph_and_rows():
    a, (b,), scale, _, weight, _, _, _ = case(40, [40], 8, torch.float64)
    a.requires_grad_()
    total, lse = row_lse(a, [b], weight, scale=scale)
    first = torch.autograd.grad(3 * total, a, retain_graph=True)[0]
    second = torch.autograd.grad(total, a, retain_graph=True)[0]
    torch.testing.assert_close(first, 3 * second)
    through_rows = torch.autograd.grad((lse * weight).sum() + total, a)[0]
    torch.testing.assert_close(through_rows, 2 * second)


def test_queue_may_be_overwritten_before_backward():
    a, queue = embeddings(8, 4, 0).requires_grad_(), embeddings(16, 4, 1)
    expected = torch.autograd.grad(row_lse(a, [queue], torch.ones(8))[0], a)[0]
    total, _ = row_lse(a, [queue], torch.ones(8))
    queue[:8] = 0.0
    torch.testing.assert_close(torch.autograd.grad(total, a)[0], expected)


def test_second_derivative_is_refused():
    a, b = embeddings(8, 4, 0).requires_grad_(), embeddings(8, 4, 1)
    grad = torch.autograd.grad(row_lse(a, [b], torch.ones(8))[0], a, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(grad.square().sum(), a)


def test_autocast_does_not_change_the_precision():
    a, b = embeddings(300, 16, 0), embeddings(300, 16, 1)
    plain = row_lse(a, [b], torch.ones(300), scale=torch.tensor(20.0))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(row_lse(a, [b], torch.ones(300), scale=torch.tensor(20.0))[0], plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchors": torch.zeros(3)}, r"anchors must be \[n, D\]"),
        ({"blocks": [torch.zeros(4, 5)]}, r"block 0 must be \[M, 2\]"),
        ({"weight": torch.ones(4)}, r"weight must have shape \[3\]"),
        ({"scale": torch.ones(2)}, r"scale must have shape \[\] or \[3\]"),
        ({"logits": torch.ones(3)}, r"logits must be \[3, H\]"),
        ({"exclude": []}, r"one entry a block \(1\)"),
    ],
)
def test_bad_input(change, message):
    arguments = {
        "anchors": torch.zeros(3, 2),
        "blocks": [torch.zeros(4, 2)],
        "weight": torch.ones(3),
    } | change
    with pytest.raises(ValueError, match=message):
        row_lse(**arguments)


def test_bad_exclusion():
    with pytest.raises(ValueError, match="two integer tensors"):
        Exclusion(same=(torch.zeros(3), torch.zeros(3)))
    with pytest.raises(ValueError, match="unless qualifies same"):
        Exclusion(unless=(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)))
