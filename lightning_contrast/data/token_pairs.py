"""Pairs of token rows in memory, taken out a batch at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset


class TokenPairs(Dataset[dict[str, Any]]):
    """Queries and their documents as padded token numbers; use with ``collate_fn=as_is``.

    Yields ``query`` and ``document`` (integers ``[n, L]``, cut to the longest of the batch), ``index`` and the payload.

    Args:
        query: Integers ``[N, L]``, padded with 0 behind.
        document: Integers ``[N, M]``, the same; row i belongs to row i of `query`.
        index: The position of each in the data set it is a part of, int64 ``[N]``; None counts from 0.
        payload: More that is known of each pair, int64 ``[N]`` each.

    Raises:
        ValueError: If the shapes do not fit.
    """

    def __init__(self, query: Tensor, document: Tensor, index: Tensor | None = None, **payload: Tensor) -> None:
        self.index = torch.arange(len(query)) if index is None else index
        self.query, self.document, self.payload = query, document, payload
        for name, value, dims in (("query", query, 2), ("document", document, 2), ("index", self.index, 1)):
            if value.dim() != dims or value.is_floating_point() or len(value) != len(query):
                raise ValueError(
                    f"{name} must be integers with {len(query)} rows and {dims} dimensions, got {value.dtype} "
                    f"{list(value.shape)}"
                )
        for name, value in payload.items():
            if value.shape != (len(query),):
                raise ValueError(f"{name} must be [{len(query)}], one a pair, got {list(value.shape)}")

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, position: int) -> dict[str, Any]:
        return {key: value[0] for key, value in self.__getitems__([position]).items()}

    def __getitems__(self, positions: list[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(list(positions), dtype=torch.int64)
        known = {key: value[chosen] for key, value in {"index": self.index, **self.payload}.items()}
        return {"query": trimmed(self.query[chosen]), "document": trimmed(self.document[chosen]), **known}


def trimmed(tokens: Tensor) -> Tensor:
    """Without the columns behind that hold padding only; at least one is left."""
    used = (tokens != 0).any(0).nonzero()
    return tokens[:, : int(used.max()) + 1 if len(used) else 1]
