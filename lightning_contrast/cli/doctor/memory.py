"""How much memory a training step needs, by the rows of its batch."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lightning_contrast.functional.nests import is_texts
from lightning_contrast.modules.chunks import rows_of

CHUNK = 32  # rows a chunk, where the configuration says nothing


class PeakBytes(TorchDispatchMode):
    """The largest number of bytes that tensors made inside held at a time, forward and backward, on any device.

    Counted by storages as they come and go, so that it is the same on every machine; what kernels take for themselves
    is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._held: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation, then counts what it made."""
        known = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage(), known)
        return out

    def _count(self, storage: Any, known: set[int]) -> None:
        key = id(storage)
        if key in known or key in self._held:
            return
        size = storage.nbytes()

        def gone(_: Any) -> None:
            self._held.pop(key, None)
            self.now -= size

        self._held[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


@dataclass(frozen=True)
class Memory:
    """Bytes of a step as ``fixed + a_row * rows``, by whether it encodes in chunks.

    Args:
        rows: of the configured batch.
        free: bytes that are free, with weights and optimizer in place.
        plain: ``(fixed, a_row)`` without chunks.
        chunked: the same with chunks of ``chunk`` rows.
        chunk: rows a chunk.
        cached: whether the configuration encodes in chunks.
    """

    rows: int
    free: int
    plain: tuple[float, float]
    chunked: tuple[float, float]
    chunk: int
    cached: bool

    def needed(self, rows: int, chunked: bool) -> float:
        """Bytes of a step of so many rows."""
        fixed, a_row = self.chunked if chunked else self.plain
        return fixed + a_row * rows

    def largest(self, chunked: bool) -> int:
        """The largest batch that fits."""
        fixed, a_row = self.chunked if chunked else self.plain
        return max(0, int((self.free - fixed) / max(a_row, 1.0)))


def measure(module: Any, batch: Mapping[str, Any]) -> Memory | None:
    """Measures steps on parts of a batch; ``None`` where it has too few rows to tell.

    Gradients are dropped, BatchNorm statistics move. Between the two sizes that are measured, and beyond, it is taken to
    grow evenly: the matrix of scores is scored in tiles.
    """
    rows = len(batch["index"])
    large = min(rows, 128)
    if large < 8:
        return None
    asked, keep = module.chunk_size, module.keep_chunks
    chunk = asked or min(CHUNK, large // 4)
    small_chunk = min(chunk, large // 4)  # so that there are several
    try:
        plain = _line(module, batch, large, None)
        module.keep_chunks = 0
        chunked = _line(module, batch, large, small_chunk)
    finally:
        module.chunk_size, module.keep_chunks = asked, keep
        module.zero_grad(set_to_none=True)
    chunked = (chunked[0] + plain[1] * (chunk - small_chunk), chunked[1])
    return Memory(rows, free_bytes(module.device), plain, chunked, chunk, asked is not None)


def _line(module: Any, batch: Mapping[str, Any], large: int, chunk: int | None) -> tuple[float, float]:
    few, many = (_peak(module, batch, rows, chunk) for rows in (large // 2, large))
    a_row = max(0.0, (many - few) / (large - large // 2))
    return max(0.0, many - a_row * large), a_row


def _peak(module: Any, batch: Mapping[str, Any], rows: int, chunk: int | None) -> int:
    module.zero_grad(set_to_none=True)
    module.chunk_size = chunk
    part = first_rows(batch, rows)
    inputs = sum(leaf.nbytes for leaf in tree_leaves(part) if isinstance(leaf, Tensor))
    module._probing = True  # no logs and no callbacks
    try:
        with PeakBytes() as counted, module.trainer.precision_plugin.train_step_context():
            module.training_step(part, 0).backward()
    finally:
        module._probing = False
    return counted.peak + inputs


def first_rows(batch: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The first samples of a batch."""
    whole = len(batch["index"])

    def cut(leaf: Any) -> Any:
        if not (isinstance(leaf, Tensor) and leaf.dim()) and not is_texts(leaf):
            return leaf
        return leaf[: rows * (rows_of(leaf) // whole)]  # explicit negatives are several a sample

    return tree_map(cut, dict(batch), is_leaf=is_texts)


def free_bytes(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = {line.split(":")[0]: line.split()[1] for line in file}
        return int(found["MemAvailable"]) * 1024
    except (OSError, KeyError):
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
