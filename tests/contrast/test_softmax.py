"""The kernels' path gives what one dense tile gives, in value and gradient, for every contrast it accepts."""

import pytest
import torch

from lightning_contrast import Candidates, Contrast, Dot
from lightning_contrast.contrast.direction import Direction, why_not
from lightning_contrast.contrast.evaluate import evaluate_all
from lightning_contrast.contrast.pair import pair_function
from lightning_contrast.contrast.ready import prepared
from lightning_contrast.objectives import InfoNCE, SupCon
from lightning_contrast.targets import SameLabel
from lightning_contrast.temperatures import Learnable
from tests.ranks import run_ranks

N, D = 23, 6


def vectors(*shape, seed=0, dtype=torch.float64):
    z = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return z.to(dtype).requires_grad_()


def ids(*values):
    return torch.tensor(values)


INDEX = torch.arange(N) % 19  # four samples were drawn twice
LABEL = torch.randint(-1, 5, (N,), generator=torch.Generator().manual_seed(3))


def queue(z, **payload):
    return Candidates(z, payload, name="queue", where="replicated")


def pairs(a, b, **kwargs):
    return Contrast.from_pairs(a, b, **kwargs)


def moco(a, b, q, **kwargs):
    return pairs(a, b, in_batch=False, index=INDEX).append(queue(q, index=torch.arange(30) % 25))


@pair_function(swappable=True)
def near(pair):
    return (pair.anchor.time - pair.candidate.time).abs() < 3


CASES = {
    "pairs": (InfoNCE(0.2), lambda a, b, q: pairs(a, b)),
    "pairs, duplicates": (InfoNCE(0.2), lambda a, b, q: pairs(a, b, index=INDEX)),
    "clip": (InfoNCE(0.2, symmetric=True), lambda a, b, q: pairs(a, b, index=INDEX)),
    "clip, queue on one side": (InfoNCE(0.2, symmetric=True), lambda a, b, q: pairs(a, b).append(queue(q))),
    "dot": (InfoNCE(1.5, similarity=Dot()), lambda a, b, q: pairs(a, b)),
    "sharp": (InfoNCE(0.01), lambda a, b, q: pairs(a, b)),
    "learnable": (InfoNCE(Learnable(0.3), symmetric=True), lambda a, b, q: pairs(a, b)),
    "temperature an anchor": (
        InfoNCE(),
        lambda a, b, q: pairs(a, b).replace(temperature=torch.linspace(0.1, 0.9, N, dtype=torch.float64)),
    ),
    "queue": (InfoNCE(0.2), lambda a, b, q: pairs(a, b, index=INDEX).append(queue(q, index=torch.arange(30) % 25))),
    "moco": (InfoNCE(0.2), moco),
    "shared negatives": (InfoNCE(0.2), lambda a, b, q: pairs(a, b, negatives=q, negative_index=torch.arange(30))),
    "own negatives": (InfoNCE(0.2), lambda a, b, q: pairs(a, b, negatives=q[:N, None].expand(N, 2, D) * 1.0)),
    "views": (InfoNCE(0.2), lambda a, b, q: Contrast.from_views(torch.stack([a, b]), index=INDEX)),
    "three views": (InfoNCE(0.2), lambda a, b, q: Contrast.from_views(torch.stack([a, b, a * b]), index=INDEX)),
    "views, queue": (
        InfoNCE(0.2),
        lambda a, b, q: Contrast.from_views(torch.stack([a, b]), index=INDEX).append(queue(q, index=torch.arange(30))),
    ),
    "views, learnable": (InfoNCE(Learnable(0.3)), lambda a, b, q: Contrast.from_views(torch.stack([a, b]))),
    "supcon": (SupCon(0.2), lambda a, b, q: Contrast.from_views(torch.stack([a, b]), label=LABEL, index=INDEX)),
    "supcon, one view": (SupCon(0.2), lambda a, b, q: Contrast.from_views(a[None], label=LABEL)),
    "supcon, pairs": (SupCon(0.2, symmetric=True), lambda a, b, q: pairs(a, b, label=LABEL, index=INDEX)),
    "supcon, queue": (
        SupCon(0.2),
        lambda a, b, q: Contrast.from_views(torch.stack([a, b]), label=LABEL, index=INDEX).append(
            queue(q, label=torch.arange(30) % 7, index=torch.arange(30))
        ),
    ),
    "log-weights": (
        InfoNCE(0.2),
        lambda a, b, q: pairs(a, b, time=torch.arange(N)).add_log_weight(
            lambda p: -(p.anchor.time - p.candidate.time).abs().double().sqrt()
        ),
    ),
    "log-weights on the queue": (
        InfoNCE(0.2),
        lambda a, b, q: pairs(a, b)
        .append(queue(q, age=torch.arange(30)))
        .add_log_weight(lambda p: -0.1 * p.candidate.age.double().expand(p.shape), on=("queue",)),
    ),
    "excluded pairs": (
        InfoNCE(0.2),
        lambda a, b, q: pairs(a, b, time=torch.arange(N) % 9).exclude(lambda p: near(p) & ~p.same("position")),
    ),
    "excluded positives": (InfoNCE(0.2), lambda a, b, q: pairs(a, b, time=torch.arange(N) % 9).exclude(near)),
    "soft target": (
        InfoNCE(0.2),
        lambda a, b, q: pairs(a, b, time=torch.arange(N)).retarget(
            lambda p: torch.exp(-(p.anchor.time - p.candidate.time).abs().double())
        ),
    ),
    "soft target over views": (
        InfoNCE(0.2),
        lambda a, b, q: Contrast.from_views(torch.stack([a, b]), time=torch.arange(N)).retarget(
            lambda p: 1.0 / (1 + (p.anchor.time - p.candidate.time).abs().double())
        ),
    ),
}  # fmt: skip


def scored(objective, build, path, dtype=torch.float64):
    torch.set_default_dtype(torch.float64)
    try:
        objective = objective.to(dtype)
        z = [
            vectors(N, D, seed=1, dtype=dtype),
            vectors(N, D, seed=2, dtype=dtype),
            vectors(30, D, seed=3, dtype=dtype),
        ]
        objective.path = path
        objective.zero_grad()
        results = objective.evaluate_all(objective.directions(build(*z)))
        loss = torch.stack([r.loss for r in results]).mean()
        loss.backward()
        grads = [*(t.grad for t in z), *(p.grad for p in objective.parameters())]
        return loss.detach(), grads, results
    finally:
        objective.path = "auto"
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_one_dense_tile(case):
    loss, grads, results = scored(*CASES[case], "dense")
    other, others, kernels = scored(*CASES[case], "kernels")
    torch.testing.assert_close(other, loss, rtol=1e-11, atol=1e-11)
    for a, b in zip(others, grads, strict=True):
        torch.testing.assert_close(
            torch.zeros(1) if a is None else a, torch.zeros_like(a) if b is None and a is not None else torch.zeros(1) if b is None else b,
            rtol=1e-9, atol=1e-11,
        )  # fmt: skip
    for a, b in zip(results, kernels, strict=True):
        assert (int(a.anchors), int(a.left_out)) == (int(b.anchors), int(b.left_out))
        torch.testing.assert_close(b.loss.detach(), a.loss.detach(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("case", ["pairs", "clip", "moco", "views", "supcon", "soft target"])
def test_bf16_products_stay_near(case):
    loss, grads, _ = scored(*CASES[case], "dense")
    other, others, _ = scored(*CASES[case], "kernels", torch.bfloat16)
    torch.testing.assert_close(other.double(), loss, rtol=1e-2, atol=1e-2)
    largest = max(g.abs().max() for g in grads if g is not None)
    for a, b in zip(others, grads, strict=True):
        if b is not None:
            assert (a.double() - b).abs().max() < 2e-2 * largest


NOT = {
    "labels of its own on each side": lambda c: (
        c.attach("anchor", label=LABEL).attach("positive", label=LABEL.flip(0)).retarget(SameLabel())
    ),
    "shift": lambda c: c.shift(lambda p: -0.1 * p.similarity),
    "score-dependent": lambda c: c.exclude(lambda p: p.similarity > 0.9),
    "random": lambda c: c.add_log_weight(lambda p: torch.randn(p.shape)),
    "temperature of the tile": lambda c: c.replace(temperature=lambda p: torch.full(p.shape, 0.2)),
    "target reads scores": lambda c: c.retarget(lambda p: p.same("position") * p.similarity.detach().exp()),
    "trained payload": lambda c: c.attach("anchor", w=torch.ones(N, requires_grad=True)).add_log_weight(
        lambda p: p.anchor.w.expand(p.shape)
    ),
}


@pytest.mark.parametrize("case", NOT)
def test_what_the_kernels_cannot_do_is_said(case):
    contrast = NOT[case](pairs(vectors(N, D), vectors(N, D, seed=1)))
    objective = InfoNCE(0.2)
    objective.path = "kernels"
    with pytest.raises(ValueError, match="path='kernels' cannot score"):
        objective(contrast)
    local = prepared(objective.prepare(contrast), {})
    assert why_not(Direction(local, local))


def test_an_anchor_without_a_positive_is_left_out():
    label = ids(0, 0, 1, -1)
    objective = SupCon(0.5)
    objective.path = "kernels"
    z = vectors(1, 4, 3)
    result = objective.evaluate(objective.prepare(Contrast.from_views(z, label=label)))
    assert (int(result.anchors), int(result.left_out)) == (2, 2)
    result.loss.backward()
    assert torch.isfinite(z.grad).all()


def test_a_batch_without_any_positive_is_zero_with_a_graph():
    objective = SupCon(0.5)
    objective.path = "kernels"
    z = vectors(1, 4, 3)
    loss = objective(Contrast.from_views(z, label=torch.arange(4)))
    loss.backward()
    assert loss == 0
    assert (z.grad == 0).all()


def shard(rank, world, case, sizes, path):
    start = sum(sizes[:rank])
    mine = slice(start, start + sizes[rank])
    torch.set_default_dtype(torch.float64)
    objective, build = RANK_CASES[case]
    objective.path = path
    a, b, q = vectors(N, D, seed=1), vectors(N, D, seed=2), vectors(30, D, seed=3)
    loss = objective(build(a, b, q, mine))
    loss.backward()
    torch.set_default_dtype(torch.float32)
    # what DDP does: the average over ranks
    out = [t.grad / world for t in (a, b)]
    for t in out:
        torch.distributed.all_reduce(t)
    loss = loss.detach() / world
    torch.distributed.all_reduce(loss)
    return loss, out


RANK_CASES = {
    "pairs": (InfoNCE(0.2), lambda a, b, q, m: pairs(a[m], b[m], index=INDEX[m])),
    "clip": (InfoNCE(0.2, symmetric=True), lambda a, b, q, m: pairs(a[m], b[m])),
    "views": (InfoNCE(0.2), lambda a, b, q, m: Contrast.from_views(torch.stack([a[m], b[m]]), index=INDEX[m])),
    "supcon": (SupCon(0.2), lambda a, b, q, m: Contrast.from_views(torch.stack([a[m], b[m]]), label=LABEL[m], index=INDEX[m])),
    "queue": (InfoNCE(0.2), lambda a, b, q, m: pairs(a[m], b[m], in_batch=False, index=INDEX[m]).append(queue(q.detach(), index=torch.arange(30)))),
    "soft": (InfoNCE(0.2), lambda a, b, q, m: pairs(a[m], b[m], time=torch.arange(N)[m]).retarget(lambda p: torch.exp(-(p.anchor.time - p.candidate.time).abs().double()))),
}  # fmt: skip


@pytest.mark.parametrize("sizes", [(12, 11), (7, 0, 16)])
@pytest.mark.parametrize("case", RANK_CASES)
def test_processes_equal_one(case, sizes):
    objective, build = RANK_CASES[case]
    objective.path = "dense"
    torch.set_default_dtype(torch.float64)
    a, b, q = vectors(N, D, seed=1), vectors(N, D, seed=2), vectors(30, D, seed=3)
    loss = objective(build(a, b, q, slice(None)))
    loss.backward()
    torch.set_default_dtype(torch.float32)
    for found, grads in run_ranks(len(sizes), shard, case, sizes, "auto"):
        torch.testing.assert_close(found, loss.detach(), rtol=1e-10, atol=1e-10)
        for x, y in zip(grads, (a.grad, b.grad), strict=True):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-11)


def test_two_directions_share_one_matrix_only_when_they_are_each_other():
    a, b, c = (vectors(N, D, seed=i) for i in range(3))
    one, two = pairs(a, b), pairs(b, c)
    rows = InfoNCE(0.2).rows
    expected = [InfoNCE(1.0)(x) for x in (one, two)]
    got = evaluate_all([one, two], rows, form="softmax")
    for r, e in zip(got, expected, strict=True):
        torch.testing.assert_close(r.loss, e)
