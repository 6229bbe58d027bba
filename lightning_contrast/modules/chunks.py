"""Encoding a batch in chunks, so that memory does not grow with the batch (gradient caching).

Forward keeps only inputs and outputs, backward encodes each chunk once more with the same random state. The gradient is
that of the whole batch, in automatic optimisation, under any strategy.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

from lightning_contrast.functional.nests import is_texts, rows_between
from lightning_contrast.modules.chunk_gradient import encode_twice
from lightning_contrast.modules.token_budget import token_chunks


def rows_of(inputs: Any) -> int:
    """The number of samples in a tensor, a list of texts, or a nest of them with a common first dimension."""
    leaves = [leaf for leaf in tree_leaves(inputs, is_leaf=is_texts) if isinstance(leaf, Tensor) or is_texts(leaf)]
    if not leaves:
        raise TypeError(f"Inputs must be tensors, lists of texts, or nests of them, got {type(inputs).__name__}.")
    return len(leaves[0])


def shapes_of(inputs: Any) -> Any:
    """What must agree for inputs to be stacked into one forward pass."""

    def shape(leaf: Any) -> Any:
        return (leaf.shape[1:], leaf.dtype) if isinstance(leaf, Tensor) else "texts" if is_texts(leaf) else leaf

    return tree_map(shape, inputs, is_leaf=is_texts)


def joined(parts: list[Any]) -> Any:
    """Several inputs of equal structure as one."""
    if len(parts) == 1:
        return parts[0]

    def join(*leaves: Any) -> Any:
        if is_texts(leaves[0]):
            return [text for texts in leaves for text in texts]
        return torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0]

    return tree_map(join, *parts, is_leaf=is_texts)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers that take statistics of their batch."""
    return [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """The second forward of a chunk normalises by batch statistics again, but must not count them twice."""
    norms = batch_norms(module)
    kept = [(m.momentum, None if m.num_batches_tracked is None else m.num_batches_tracked.clone()) for m in norms]
    for m in norms:
        m.momentum = 0.0
    try:
        yield
    finally:
        for m, (momentum, tracked) in zip(norms, kept, strict=True):
            m.momentum = momentum
            if tracked is not None and m.num_batches_tracked is not None:
                m.num_batches_tracked.copy_(tracked)


def encode_in_chunks(
    encode: Callable[[Any], Tensor],
    inputs: Any,
    size: int,
    *,
    module: nn.Module,
    keep: int = 0,
    sharded: bool = False,
) -> Tensor:
    """``encode(inputs)``, ``size`` rows at a time.

    Args:
        encode: from inputs to ``[n, D]``; every row on its own (BatchNorm sees one chunk at a time).
        inputs: a tensor, or a nest of tensors with a common first dimension.
        size: rows a chunk.
        module: what ``encode`` runs: its parameters get the gradient, its BatchNorm statistics are counted once.
        keep: the last so many chunks keep their graph, which spares their second forward.
        sharded: whether parameters are split over processes; then, and where inputs need a gradient, chunks go through
            activation checkpointing, which is slower and holds more.
    """
    return encode_sides(encode, [inputs], size=size, module=module, keep=keep, sharded=sharded)[0]


def encode_by_tokens(
    encode: Callable[[Any], Tensor],
    inputs: Any,
    tokens: int,
    *,
    module: nn.Module,
    keep: int = 0,
    sharded: bool = False,
) -> Tensor:
    """:func:`encode_in_chunks` by a budget of tokens; rows come back in their order.

    Raises:
        ValueError: for inputs without ``attention_mask``; where parameters are split over processes, whose numbers of
            chunks would differ.
    """
    return encode_sides(encode, [inputs], tokens=tokens, module=module, keep=keep, sharded=sharded)[0]


def encode_sides(
    encode: Callable[[Any], Tensor],
    sides: Sequence[Any],
    *,
    size: int | None = None,
    tokens: int | None = None,
    module: nn.Module,
    keep: int = 0,
    sharded: bool = False,
) -> list[Tensor]:
    """:func:`encode_in_chunks` (`size`) or :func:`encode_by_tokens` of several inputs, such as anchors and positives.

    Their gradient is summed as one, so that it takes the memory of the parameters once, not once a side.
    """
    if tokens is not None and sharded:
        raise ValueError(
            f"chunk_tokens={tokens}: processes that share their parameters must encode as many chunks each: use chunk_size."
        )
    cut = [_by_rows(side, size) if size is not None else token_chunks(side, tokens or 1) for side in sides]
    chunks = [chunk for found, _ in cut for chunk in found]
    together = _encoded(encode, chunks, module=module, keep=keep, sharded=sharded)
    parts = together.split([rows_of(side) for side in sides])
    return [z if place is None else z[place] for z, (_, place) in zip(parts, cut, strict=True)]


def _by_rows(inputs: Any, size: int) -> tuple[list[Any], None]:
    return [rows_between(inputs, start, start + size) for start in range(0, rows_of(inputs), size)], None


def _encoded(
    encode: Callable[[Any], Tensor], chunks: list[Any], *, module: nn.Module, keep: int, sharded: bool
) -> Tensor:
    """``encode`` of every chunk, joined."""
    if not torch.is_grad_enabled():
        return torch.cat([encode(chunk) for chunk in chunks])
    last = max(0, len(chunks) - keep)
    again = partial(_running_statistics_kept, module)
    if sharded or any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(chunks)):
        contexts = lambda: (nullcontext(), again())  # noqa: E731
        out = [checkpoint(encode, chunk, use_reentrant=False, context_fn=contexts) for chunk in chunks[:last]]
    else:
        out = [encode_twice(encode, chunks[:last], module, again)] if last else []
    return torch.cat([*out, *map(encode, chunks[last:])])
