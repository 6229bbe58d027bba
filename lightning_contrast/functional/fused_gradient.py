"""One autograd function for all kernels: the gradient is computed together with the value, while a tile is
hot.

A kernel sums weighted rows, `total = sum_k weight_k . rows_k`. If the weights are known in advance, the
gradient of the total costs no second visit of the scores. It is exact for what is returned as well: an
upstream gradient of the total only scales it, and an upstream gradient of the rows themselves becomes the
weight of a second run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

MaybeTensor = Tensor | None


class Kernel(Protocol):
    """Computes rows, and the gradients of their weighted sum for the inputs that need one."""

    def __call__(
        self, inputs: Sequence[MaybeTensor], weights: Sequence[MaybeTensor], needs: Sequence[bool]
    ) -> tuple[tuple[Tensor, ...], list[MaybeTensor]]:
        """Return `rows` (one `[n_k]` tensor a weight) and one gradient an input (None where not needed).

        A row without candidates is `-inf` and has no gradient whatever its weight. `weights` are None only if
        nothing needs a gradient.
        """
        ...  # pragma: no cover


def fused(
    kernel: Kernel, inputs: Sequence[MaybeTensor], weights: Sequence[MaybeTensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a kernel; return `total` (0-d) and its rows, both differentiable once in inputs and weights.

    Without weights (all None) the total is the plain sum, nothing but the value is computed, and a gradient
    costs a second run. The same holds for a gradient through the rows.
    """
    tensors = (*weights, *inputs)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        total, *rows = _Fused.apply(kernel, len(weights), *tensors)
        return total, tuple(rows)
    with torch.no_grad():
        values, _ = _run(kernel, inputs, weights, [False] * len(inputs))
        return _weighted_sum(values, weights), values


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kernel: Kernel, outputs: int, *tensors: MaybeTensor) -> tuple[Tensor, ...]:
        weights, inputs = tensors[:outputs], tensors[outputs:]
        needs = ctx.needs_input_grad[2:]
        ctx.kernel, ctx.outputs, ctx.needs = kernel, outputs, needs[outputs:]
        in_advance = all(weight is not None for weight in weights)
        rows, grads = _run(kernel, inputs, weights, ctx.needs if in_advance else [False] * len(inputs))
        ctx.grads = grads if in_advance else None
        ctx.sizes = [len(row) for row in rows]
        ctx.weight_grads = [_present(row) if need else None for row, need in zip(rows, needs, strict=False)]
        ctx.save_for_backward(*tensors)  # looked at only to run again: a queue may be overwritten before backward
        ctx.set_materialize_grads(False)
        return _weighted_sum(rows, weights), *rows

    @staticmethod
    def backward(ctx: Any, upstream: MaybeTensor, *upstream_rows: MaybeTensor) -> tuple[MaybeTensor, ...]:
        with torch.no_grad():
            grads = _input_gradients(ctx, upstream, upstream_rows)
            weight_grads = [None if g is None or upstream is None else g * upstream for g in ctx.weight_grads]
        out = (*weight_grads, *grads)
        if torch.is_grad_enabled():  # create_graph=True: whoever differentiates again must hear of it
            sources = [t for t in (*ctx.saved_tensors, upstream, *upstream_rows) if t is not None and t.requires_grad]
            some = [g for g in out if g is not None]
            refusing = iter(_FirstDerivativeOnly.apply(len(some), *some, *sources))
            out = tuple(None if g is None else next(refusing) for g in out)
        return None, None, *out


def _input_gradients(ctx: Any, upstream: MaybeTensor, upstream_rows: Sequence[MaybeTensor]) -> list[MaybeTensor]:
    grads, ctx.grads = ctx.grads, None  # scaled in place, hence used once
    if grads is not None and upstream is not None and all(g is None for g in upstream_rows):
        return [None if g is None else g.mul_(upstream.to(g.dtype)) for g in grads]
    if not any(ctx.needs):
        return [None] * len(ctx.needs)
    tensors = ctx.saved_tensors
    weights, inputs = tensors[: ctx.outputs], tensors[ctx.outputs :]
    effective = []
    for weight, row, size in zip(weights, upstream_rows, ctx.sizes, strict=True):
        device = next(t.device for t in tensors if t is not None)
        total = torch.zeros(size, device=device) if row is None else row
        if upstream is not None:
            total = total + (upstream if weight is None else upstream * weight)
        effective.append(total)
    return _run(ctx.kernel, inputs, effective, ctx.needs)[1]


def _present(row: Tensor) -> Tensor:
    """Return the row values with 0 for rows without candidates."""
    return row.masked_fill(row == -torch.inf, 0.0)


class _FirstDerivativeOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: MaybeTensor) -> Any:
        raise RuntimeError(
            "The tiled kernels of lightning_contrast.functional have no second derivative: their gradient is "
            "computed together with the value and the scores are gone. For a gradient penalty or another "
            "second-order method compute the objective from a dense matrix of scores (objective.path = 'dense': "
            "path='dense')."
        )


def _run(
    kernel: Kernel, inputs: Sequence[MaybeTensor], weights: Sequence[MaybeTensor], needs: Sequence[bool]
) -> tuple[tuple[Tensor, ...], list[MaybeTensor]]:
    device = next(t for t in inputs if t is not None).device.type
    if not torch.is_autocast_enabled(device):
        return kernel(inputs, weights, needs)
    with torch.autocast(device, enabled=False):  # the kernel's own choice of precision holds
        return kernel(inputs, weights, needs)


def _weighted_sum(rows: Sequence[Tensor], weights: Sequence[MaybeTensor]) -> Tensor:
    parts = [
        _present(row).sum() if weight is None else torch.dot(_present(row), weight.to(row.dtype))
        for row, weight in zip(rows, weights, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()
