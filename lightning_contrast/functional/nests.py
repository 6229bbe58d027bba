"""Inputs of a batch, whatever they are made of: tensors, lists of texts, or nests of them with one row a sample."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


def is_texts(leaf: Any) -> bool:
    """A list of texts, one a sample, for encoders that tokenise."""
    return isinstance(leaf, (list, tuple)) and bool(leaf) and all(isinstance(text, str) for text in leaf)


def rows_between(inputs: Any, start: int, stop: int) -> Any:
    """The samples from ``start`` up to ``stop``; tensors are views of the given ones.

    Example:
        >>> rows_between({"text": ["a", "b", "c"]}, 1, 3)
        {'text': ['b', 'c']}
    """

    def cut(leaf: Any) -> Any:
        return leaf[start:stop] if isinstance(leaf, Tensor) or is_texts(leaf) else leaf

    return tree_map(cut, inputs, is_leaf=is_texts)
