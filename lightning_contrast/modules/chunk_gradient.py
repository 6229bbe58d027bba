"""The gradient of an encoder through chunks that are encoded twice: once for the loss, once more for the gradient.

Unlike activation checkpointing no graph is made in the first pass, and nothing is looked up tensor by tensor in the
second. The parameters are inputs of one autograd node, which returns the sum over all chunks: whoever waits for a
parameter's gradient (DDP's one reduction a step, hooks, clipping) sees it once and whole.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import get_device_states, set_device_states

_compared: "WeakSet[nn.Module]" = WeakSet()
"""Modules whose two passes were compared; once each, since a comparison makes the host wait."""


@torch.compiler.disable
def encode_twice(
    encode: Callable[[Any], Tensor],
    chunks: Sequence[Any],
    module: nn.Module,
    second_pass: Callable[[], AbstractContextManager[None]],
) -> Tensor:
    """``encode`` of every chunk, joined; backward encodes each once more, with the random state of its first pass.

    Args:
        encode: from inputs to ``[n, D]``; what it trains are parameters of ``module``.
        chunks: inputs, none of which needs a gradient.
        module: whose parameters get gradients.
        second_pass: a context around every second encoding.

    Raises:
        RuntimeError: in the first backward, for an encoder whose second pass differs from its first; in a second
            derivative, which this path does not have.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    return _EncodeTwice.apply(encode, chunks, module, parameters, second_pass, *parameters)


class _EncodeTwice(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        encode: Callable[[Any], Tensor],
        chunks: Sequence[Any],
        module: nn.Module,
        parameters: list[nn.Parameter],
        second_pass: Callable[[], AbstractContextManager[None]],
        *tracked: Tensor,
    ) -> Tensor:
        ctx.encode, ctx.chunks, ctx.module, ctx.parameters = encode, chunks, module, parameters
        ctx.second_pass = second_pass
        ctx.states, ctx.autocast, outputs = [], _Autocast(parameters), []
        for chunk in chunks:
            ctx.states.append(_RandomState(chunk))
            outputs.append(encode(chunk))
        ctx.first = None if module in _compared else outputs[0].detach()
        ctx.parameter_versions = [p._version for p in parameters]
        return torch.cat(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        if [p._version for p in ctx.parameters] != ctx.parameter_versions:
            raise RuntimeError(
                "A parameter of the encoder was changed between forward and backward: chunks are encoded once more in "
                "backward and would give another gradient. Change it after the backward pass."
            )
        total: list[Tensor | None] = [None] * len(ctx.parameters)
        start = 0
        for chunk, state in zip(ctx.chunks, ctx.states, strict=True):
            with ExitStack() as stack:
                state.enter(stack)
                stack.enter_context(ctx.second_pass())
                ctx.autocast.enter(stack)
                stack.enter_context(torch.enable_grad())
                out = ctx.encode(chunk)
            if ctx.first is not None:
                _check_equal(ctx.first, out.detach(), ctx.module)
                ctx.first = None
            stop = start + len(out)
            if out.requires_grad:  # not where a tower trains nothing, such as one that only flattens
                found = torch.autograd.grad(out, ctx.parameters, gradient[start:stop], allow_unused=True)
                _add(total, found)
                del found
            start = stop
            del out
        return (None,) * 5 + tuple(total)


def _add(total: list[Tensor | None], found: Sequence[Tensor | None]) -> None:
    for number, (old, new) in enumerate(zip(total, found, strict=True)):
        if old is None or new is None:
            total[number] = old if new is None else new
        elif old.is_sparse or new.is_sparse:
            total[number] = old + new
        else:
            old += new


def _check_equal(first: Tensor, second: Tensor, module: nn.Module) -> None:
    """Rounding differs where kernels do; a mask or another draw changes whole entries."""
    gap, size = (first - second).abs().max(), first.abs().max()
    if gap > 0.05 * size:
        raise RuntimeError(
            f"A chunk encoded twice gave different embeddings (by up to {float(gap):.2g}, the largest entry is "
            f"{float(size):.2g}), so its gradient would be wrong. Random numbers in the encoder must come from torch's "
            "own generators, and the second call must not depend on the first; else set chunk_size to null."
        )
    _compared.add(module)


class _RandomState:
    """Torch's generators as they are now, of the processor and of the devices that hold the inputs."""

    def __init__(self, inputs: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
        self.device_type = next((t.device.type for t in tensors if t.device.type != "cpu"), "cpu")
        self.processor = torch.get_rng_state()
        self.devices, self.states = get_device_states(*tensors)

    def enter(self, stack: ExitStack) -> None:
        """For what follows on the stack; afterwards the state is what it was before."""
        others = {} if self.device_type == "cpu" else {"device_type": self.device_type}
        stack.enter_context(torch.random.fork_rng(devices=self.devices, **others))
        torch.set_rng_state(self.processor)
        if self.devices:
            set_device_states(self.devices, self.states, device_type=self.device_type)


class _Autocast:
    """Precision as it is now; backward runs outside of it."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        kinds = {"cpu", *(t.device.type for t in tensors)}
        kinds = {kind for kind in kinds if torch.amp.is_autocast_available(kind)}
        self.settings: list[dict[str, Any]] = [
            {
                "device_type": kind,
                "enabled": torch.is_autocast_enabled(kind),
                "dtype": torch.get_autocast_dtype(kind),
                "cache_enabled": torch.is_autocast_cache_enabled(),
            }
            for kind in sorted(kinds)
        ]

    def enter(self, stack: ExitStack) -> None:
        """For what follows on the stack."""
        for setting in self.settings:
            stack.enter_context(torch.autocast(**setting))
