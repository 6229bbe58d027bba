"""Edges of a loss: nothing to compare, gradients of few tensors, precisions, modes."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Candidates, Contrast, Cosine, Dot, evaluate, pair_function
from lightning_contrast.contrast import tiles as tiles_module
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.temperatures import Learnable
from tests.contrast.scenes import vectors

PATHS = pytest.mark.parametrize("path", ["dense", "tiles"])


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles_module, "TILE_ENTRIES", 12)


def loss_of(contrast: Contrast, path: Any, tau: Any = 0.5) -> Tensor:
    objective = InfoNCE(tau)
    objective.path = path
    return objective(contrast)


def plain(a: Tensor, b: Tensor, tau: float | Tensor = 0.5, cosine: bool = True) -> Tensor:
    if cosine:
        a, b = nn.functional.normalize(a, dim=1), nn.functional.normalize(b, dim=1)
    return nn.functional.cross_entropy(a @ b.T / tau, torch.arange(len(a)))


# Nothing to compare -----------------------------------------------------------------------------------------------

NOTHING: dict[str, Callable[[Tensor, Tensor], Contrast]] = {
    "no anchors": lambda a, b: Contrast.from_pairs(a[:0], b[:0]),
    "one view": lambda a, b: Contrast.from_views(a[None]),
    "one row": lambda a, b: Contrast.from_views(a[None, :1]),
    "all excluded": lambda a, b: Contrast.from_pairs(a, b).exclude(lambda p: p.similarity > -2),
    "all of one item": lambda a, b: Contrast.from_pairs(a, b).retarget(lambda p: torch.zeros(p.shape)),
    "all without weight": lambda a, b: Contrast.from_pairs(a, b).add_log_weight(
        lambda p: torch.full(p.shape, -torch.inf)
    ),
}


@PATHS
@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_compare_is_zero_with_a_graph(name: str, path: str) -> None:
    a, b = vectors(5, seed=0).requires_grad_(), vectors(5, seed=1).requires_grad_()
    objective = InfoNCE(Learnable(0.5))
    objective.path = path  # type: ignore[assignment]
    (contrast,) = objective.directions(NOTHING[name](a, b))
    result = objective.evaluate(contrast)
    assert result.loss.item() == 0
    assert result.anchors.item() == 0
    assert result.left_out.item() == contrast.anchors.rows
    result.loss.backward()
    assert objective.temperature.log_scale.grad.item() == 0  # type: ignore[union-attr,operator]
    for t in (a, b):
        assert t.grad is None or not t.grad.any()


@PATHS
def test_a_batch_of_one_pair_is_zero(path: str) -> None:
    a = vectors(1, seed=0).requires_grad_()
    loss = loss_of(Contrast.from_pairs(a, a.flip(1)), path)
    loss.backward()
    assert loss.item() == 0
    assert not a.grad.any()


@PATHS
def test_an_objective_that_needs_negatives(path: str) -> None:
    """A decoupled loss of one pair would be -inf; one of anchors whose negatives weigh nothing too."""
    for n, out in ((1, 1), (4, 1)):
        a, b = vectors(n, seed=0).requires_grad_(), vectors(n, seed=1)
        contrast = Contrast.from_pairs(a, b, mute=torch.arange(n) == 0).replace(temperature=0.5)
        contrast = contrast.add_log_weight(lambda p: torch.where(p.anchor.mute & (p.target <= 0), -torch.inf, 0.0))
        result = evaluate(
            contrast,
            lambda s: s.logsumexp("negatives") - s.target_sum(),
            needs=frozenset({"positive", "negative"}),
            path=path,  # type: ignore[arg-type]
        )
        result.loss.backward()
        assert result.left_out.item() == out
        assert torch.isfinite(result.loss)
        assert torch.isfinite(a.grad).all()


@PATHS
def test_left_out_anchors_leave_no_trace(path: str) -> None:
    """The mean is that of the others, and the left-out row has no gradient, not even as NaN."""
    a, b = vectors(5, seed=0).requires_grad_(), vectors(5, seed=1)
    contrast = Contrast.from_pairs(a, b, out=torch.arange(5) == 2)
    loss = loss_of(contrast.exclude(lambda p: p.anchor.out.expand(p.shape)), path)
    loss.backward()
    keep = [0, 1, 3, 4]
    s = Cosine().tile(Cosine().prepare(a.detach()), Cosine().prepare(b)) / 0.5
    expected = torch.stack([s[i].logsumexp(0) - s[i, i] for i in keep]).mean()
    torch.testing.assert_close(loss, expected)
    assert not a.grad[2].any()
    assert a.grad[keep].any()


# Which tensors train ----------------------------------------------------------------------------------------------


@PATHS
@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("trained", ["anchors", "candidates", "temperature", "all", "same tensor"])
def test_any_tensor_may_train(trained: str, cosine: bool, path: str) -> None:
    a, b, tau = (nn.Parameter(t) for t in (vectors(5, seed=0), vectors(5, seed=1), torch.tensor(0.5).double()))
    for name, t in (("anchors", a), ("candidates", b), ("temperature", tau)):
        t.requires_grad_(trained in (name, "all", "same tensor"))
    two = a if trained == "same tensor" else b
    wanted = [t for t in ({id(t): t for t in (a, two, tau)}).values() if t.requires_grad]
    contrast = Contrast.from_pairs(a, two).replace(temperature=tau, similarity=Cosine() if cosine else Dot())
    found = torch.autograd.grad(loss_of(contrast, path), wanted)
    expected = torch.autograd.grad(plain(a, two, tau, cosine), wanted)
    torch.testing.assert_close(found, expected)


@PATHS
def test_embeddings_that_are_payload_too(path: str) -> None:
    a, b = vectors(5, seed=0).requires_grad_(), vectors(5, seed=1).requires_grad_()
    contrast = Contrast.from_pairs(a, b, teacher=(b, a)).replace(similarity=Dot()).shift(lambda p: p.dot("teacher"))
    found = torch.autograd.grad(loss_of(contrast, path), (a, b))
    logits = a @ b.T / 0.5 + b @ a.T
    expected = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.arange(5)), (a, b))
    torch.testing.assert_close(found, expected)


@PATHS
def test_groups_of_different_sizes(path: str) -> None:
    """Tiles must not cut through groups of two or of three anchors."""
    a, b = vectors(12, seed=0).requires_grad_(), vectors(12, seed=1)
    twos, threes = vectors(6, 2, seed=2), vectors(4, 3, seed=3)
    contrast = Contrast.from_pairs(a, b).replace(similarity=Dot())
    for name, z in (("twos", twos), ("threes", threes)):
        contrast = contrast.append(Candidates(z, name=name, where="private"))
    extra = [torch.cat([twos[i // 2], threes[i // 3]]) for i in range(12)]
    logits = torch.stack([torch.cat([a[i] @ b.T, extra[i] @ a[i]]) for i in range(12)]) / 0.5
    expected = nn.functional.cross_entropy(logits, torch.arange(12))
    loss = loss_of(contrast, path)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, a), torch.autograd.grad(expected, a))


@PATHS
def test_layout_does_not_matter(path: str) -> None:
    a, b = vectors(5, seed=0), vectors(5, seed=1)
    strided = torch.stack([a, b], 2).requires_grad_()
    loss = loss_of(Contrast.from_pairs(strided[..., 0], strided[..., 1]), path)
    loss.backward()
    torch.testing.assert_close(loss, plain(a, b))
    assert strided.grad.shape == strided.shape


@PATHS
def test_rows_of_zeros(path: str) -> None:
    """Similarity 0 with everything, gradient 0: a dead row must not blow up the step."""
    for dtype in (torch.float32, torch.float16):
        z = vectors(5, seed=0).to(dtype)
        z[2] = 0
        z.requires_grad_()
        loss_of(Contrast.from_pairs(z, vectors(5, seed=1).to(dtype)), path).backward()
        assert not z.grad[2].any()
        assert torch.isfinite(z.grad).all()
        assert z.grad[0].any()


# Modes and precisions ---------------------------------------------------------------------------------------------


@PATHS
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_validation(mode: Callable[[], Any], path: str) -> None:
    a, b = nn.Parameter(vectors(5, seed=0)), nn.Parameter(vectors(5, seed=1))
    with mode():
        loss = loss_of(Contrast.from_pairs(a, b), path, Learnable(0.5))
        assert not loss.requires_grad
        torch.testing.assert_close(loss, plain(a, b))


@PATHS
def test_embeddings_made_under_inference_mode(path: str) -> None:
    with torch.inference_mode():
        a, b = vectors(5, seed=0), vectors(5, seed=1)
    loss = loss_of(Contrast.from_pairs(a, b), path, Learnable(0.5))
    loss.backward()
    torch.testing.assert_close(loss.detach(), plain(a, b))


@PATHS
def test_autocast_changes_nothing(path: str) -> None:
    a, b = vectors(5, seed=0).float(), vectors(5, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = loss_of(Contrast.from_pairs(a, b), path)
    torch.testing.assert_close(loss, plain(a, b))


@PATHS
def test_a_loss_scale_of_two_to_the_sixteen(path: str) -> None:
    """What GradScaler starts with is no finite float16."""
    a = vectors(64, seed=0).half().requires_grad_()
    (loss_of(Contrast.from_pairs(a, vectors(64, seed=1).half()), path) * 2.0**16).backward()
    assert torch.isfinite(a.grad).all()


def test_many_tiles_add_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """320 tiles add the same to each key: a sum in bfloat16 would stand still at 256 of them."""
    monkeypatch.setattr(tiles_module, "TILE_ENTRIES", 1)
    a, keys, grads = vectors(1, seed=0).expand(320, -1).bfloat16(), vectors(4, seed=1).bfloat16(), []
    for dtype, path in ((torch.bfloat16, "tiles"), (torch.float64, "dense")):
        z = keys.to(dtype, copy=True).requires_grad_()
        contrast = Contrast.from_pairs(a.to(dtype), a.to(dtype), in_batch=False).replace(similarity=Dot())
        loss_of(contrast.append(Candidates(z, name="queue", where="replicated")), path).backward()
        grads.append(z.grad.double())  # type: ignore[union-attr]
    assert (grads[0] - grads[1]).abs().max() <= 2e-2 * grads[1].abs().max()


# Second derivatives, memory ---------------------------------------------------------------------------------------


def test_second_derivatives() -> None:
    a, b = vectors(4, seed=0).requires_grad_(), vectors(4, seed=1)
    found = torch.autograd.functional.hessian(lambda x: loss_of(Contrast.from_pairs(x, b), "dense"), a.detach())
    expected = torch.autograd.functional.hessian(lambda x: plain(x, b), a.detach())
    torch.testing.assert_close(found, expected)
    with pytest.raises(RuntimeError, match="path='dense'"):
        torch.autograd.grad(loss_of(Contrast.from_pairs(a, b), "tiles"), a, create_graph=True)


@PATHS
def test_backward_twice(path: str) -> None:
    a = vectors(4, seed=0).requires_grad_()
    loss = loss_of(Contrast.from_pairs(a, vectors(4, seed=1)), path)
    (one,) = torch.autograd.grad(loss, a, retain_graph=True)
    (two,) = torch.autograd.grad(3 * loss, a)
    torch.testing.assert_close(3 * one, two)


@PATHS
def test_a_step_leaves_nothing_behind(path: str) -> None:
    gc.collect()
    gc.disable()
    try:
        a = vectors(4, seed=0).requires_grad_()
        z = a * 1.0
        loss = loss_of(Contrast.from_pairs(z, vectors(4, seed=1)), path)
        loss.backward()
        watched = weakref.ref(z)
        del z, loss
        assert watched() is None
    finally:
        gc.enable()


@PATHS
@pytest.mark.parametrize("statistic", [False, True])
def test_a_tile_is_gone_before_the_next_but_one(path: Any, statistic: bool) -> None:
    """Without waiting for the garbage collector, or a hundred tiles live at once."""
    seen: list[Any] = []

    def rows(scores: Any) -> Tensor:
        seen.extend((weakref.ref(scores), weakref.ref(scores.logit)))
        return scores.logsumexp() - scores.target_sum()

    largest = pair_function(statistic=lambda s: s.topk(1).values[:, -1])(lambda p: p.logit > p.statistic)
    a = vectors(9, seed=0).requires_grad_()
    contrast = Contrast.from_pairs(a, vectors(9, seed=1))
    gc.collect()
    gc.disable()
    try:
        evaluate(contrast.exclude(largest) if statistic else contrast, rows, path=path).loss.backward()
        assert seen
        assert not any(ref() is not None for ref in seen)
    finally:
        gc.enable()


# What rows may return ---------------------------------------------------------------------------------------------


@PATHS
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (lambda s: s.logsumexp().mean(), "one value an anchor"),
        (lambda s: (s.logsumexp(), {"mean": s.logsumexp().mean()}), "Figure 'mean'"),
    ],
)
def test_wrong_rows(rows: Any, says: str, path: Any) -> None:
    with pytest.raises(ValueError, match=says):
        evaluate(Contrast.from_pairs(vectors(4, seed=0), vectors(4, seed=1)), rows, path=path)
