"""A number for what an input is: equal inputs have equal keys, wherever and whenever they are met."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path

from lightning_contrast.functional.counter_random import GOLDEN, finalise, hash_integers, signed
from lightning_contrast.functional.nests import is_texts

LANES = (1, 2)
"""Two hashes of 64 bits: two of a million different inputs share both with a probability below 2^-27."""


def content_keys(inputs: Any, salt: int = 0) -> Tensor:
    """Multilinear hashes modulo 2^64 (Carter and Wegman, 1979) of every row, over all tensors and texts of an input.

    Padding does not count: where there is an ``attention_mask``, tokens outside of it; of rows of integers ``[N, L]``,
    zeros at the end.

    Args:
        inputs: a tensor ``[N, ...]``, a list of N texts, or a nest of them.
        salt: what else the key is of.

    Returns:
        int64 ``[N, 2]``, on the inputs' device.

    Example:
        >>> keys = content_keys(torch.tensor([[3, 5, 0], [3, 5, 7]]))
        >>> torch.equal(keys[:1], content_keys(torch.tensor([[3, 5]]))), torch.equal(keys[0], keys[1])
        (True, False)
    """
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    leaves, _ = tree_flatten_with_path(inputs, is_leaf=is_texts)
    total: Tensor | None = None
    for path, leaf in leaves:
        words = _words(leaf, mask)
        if words is None:
            continue
        name = hash_integers(salt, *keystr(path).encode(), *_shape(leaf))
        if total is None:
            total = torch.zeros(len(words), len(LANES), dtype=torch.int64, device=words.device)
        place = torch.arange(1, words.shape[1] + 1, device=words.device) * signed(GOLDEN)
        found = [(words * finalise(place + hash_integers(name, lane))).sum(1) for lane in LANES]
        total = finalise(total.to(words.device) + torch.stack(found, 1) + name)
    if total is None:
        raise TypeError(f"Inputs must be tensors, lists of texts, or nests of them, got {type(inputs).__name__}.")
    return total


def _words(leaf: Any, mask: Tensor | None) -> Tensor | None:
    """Whole numbers ``[N, L]`` that hold every bit of the rows."""
    if is_texts(leaf):
        digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in leaf]
        return torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.int64).view(len(leaf), 2)
    if not isinstance(leaf, Tensor):
        return None
    leaf = leaf.detach()
    if mask is not None and not leaf.is_floating_point() and leaf.shape == mask.shape:
        leaf = leaf * (mask != 0)
    leaf = torch.view_as_real(leaf) if leaf.is_complex() else leaf
    rows = leaf.reshape(len(leaf), -1).contiguous()
    if rows.is_floating_point():
        kinds = {2: torch.int16, 4: torch.int32, 8: torch.int64}
        rows = rows.view(kinds[rows.element_size()])
    # 64 bits are stirred: a difference in the highest alone, as of two signs, is lost by a product. 0 stays 0.
    return finalise(rows) if rows.element_size() == 8 else rows.long()


def _shape(leaf: Any) -> tuple[int, ...]:
    """What of the shape tells inputs apart: not the width of padded rows."""
    if not isinstance(leaf, Tensor) or (leaf.dim() == 2 and not leaf.is_floating_point()):
        return ()
    return tuple(leaf.shape[1:])
