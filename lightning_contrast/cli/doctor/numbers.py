"""Inputs of any kind as rows of numbers, and what a batch's samples are before views are made of them."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.data import Subset

from lightning_contrast.functional.nests import is_texts

WORDS = 4096  # columns of a bag of hashed words
WIDEST = 2**14  # columns of one input; of larger ones, evenly spaced columns
BATCHES = 8


def as_numbers(inputs: Any) -> Tensor:
    """An input of the batch, ``[N, F]`` float32 on the CPU: values flattened; of tokens and texts, which occur."""
    return torch.cat([_columns(leaf) for leaf in tree_leaves(inputs, is_leaf=is_texts) if _is_input(leaf)], dim=1)


def is_discrete(inputs: Any) -> bool:
    """Whether an input is tokens or texts, which views may well share."""
    leaves = [leaf for leaf in tree_leaves(inputs, is_leaf=is_texts) if _is_input(leaf)]
    return any(is_texts(leaf) or not leaf.is_floating_point() for leaf in leaves)


def _is_input(leaf: Any) -> bool:
    return is_texts(leaf) or (isinstance(leaf, Tensor) and leaf.dim() > 0)


def _columns(leaf: Any) -> Tensor:
    if is_texts(leaf):
        numbers = [[zlib.crc32(word.encode()) % WORDS for word in text.split()] for text in leaf]
        out = torch.zeros(len(leaf), WORDS)
        for row, columns in enumerate(numbers):
            out[row, columns] = 1.0
        return out
    rows = leaf.detach().cpu().flatten(1) if leaf.dim() > 1 else leaf.detach().cpu()[:, None]
    if not rows.is_floating_point() and rows.dtype != torch.uint8:
        return torch.zeros(len(rows), WORDS).scatter_(1, rows.long() % WORDS, 1.0)
    return rows[:, :: max(1, rows.shape[1] // WIDEST)].float()


def partner_ranking(one: Tensor, two: Tensor) -> float:
    """How often row ``i`` of ``two`` is nearer to row ``i`` of ``one`` than another row is, in [0, 1]; 0.5 is chance."""
    one, two = one[:256], two[:256]
    middle = torch.cat([one, two]).mean(0)
    s = F.normalize(one - middle, dim=1) @ F.normalize(two - middle, dim=1).T
    own = s.diagonal()[:, None]
    wins = (own > s).float() + 0.5 * (own == s).float()
    wins.fill_diagonal_(0.0)
    return float(wins.sum() / (len(s) * max(1, len(s) - 1)))


@dataclass
class Contents:
    """The samples of some coming batches: a hash of what each is, and its index; ``[B][N]``."""

    hashes: list[list[str]]
    index: list[list[int]]


def contents_of(loader: Any) -> Contents | None:
    """Read through what wraps the data set, so that it is the stored sample and not a view of it."""
    try:
        batches = [list(rows) for rows in islice(iter(loader.batch_sampler), BATCHES)]
        hashes, index = [], []
        for rows in batches:
            hashes.append([_hash(item) for item in _stored(loader.dataset, rows)])
            index.append([_index(item, row) for item, row in zip(_items(loader.dataset, rows), rows, strict=True)])
    except (TypeError, AttributeError, IndexError, KeyError, NotImplementedError):
        return None
    return Contents(hashes, index) if hashes else None


def _stored(dataset: Any, rows: list[int]) -> list[Any]:
    while getattr(dataset, "dataset", None) is not None:
        if isinstance(dataset, Subset):
            rows = [int(dataset.indices[row]) for row in rows]
        dataset = dataset.dataset
    return list(_items(dataset, rows))


def _items(dataset: Any, rows: list[int]) -> Iterator[Any]:
    batch = dataset.__getitems__(rows) if hasattr(dataset, "__getitems__") else [dataset[row] for row in rows]
    if isinstance(batch, dict):  # a whole batch at once
        yield from ({key: value[i] for key, value in batch.items()} for i in range(len(rows)))
    else:
        yield from batch


def _index(item: Any, row: int) -> int:
    return int(item["index"]) if isinstance(item, dict) and "index" in item else row


_NOT_CONTENT = ("index", "label", "score", "time", "group")


def _hash(item: Any) -> str:
    """Of the candidate where there is one, else of everything that is no payload."""
    if isinstance(item, dict):
        side = next((key for key in ("positive", "document", "text") if key in item), None)
        item = item[side] if side else [value for key, value in sorted(item.items()) if key not in _NOT_CONTENT]
    elif isinstance(item, (tuple, list)) and len(item) == 2 and np.ndim(_plain(item[1])) == 0:
        item = item[0]
    digest = hashlib.blake2b(digest_size=16)
    for leaf in tree_leaves(item):
        plain = _plain(leaf)
        digest.update(plain.tobytes() if isinstance(plain, np.ndarray) else repr(plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().contiguous().numpy()
    return np.asarray(value) if hasattr(value, "__array_interface__") else value
