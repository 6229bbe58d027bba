"""A frozen encoder whose outputs are kept."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils._pytree import tree_map

from lightning_contrast.contrast.exchange import all_sizes, gather_rows, world_size
from lightning_contrast.encoders.encoder import Encoder, EncoderLike
from lightning_contrast.functional.content_keys import content_keys
from lightning_contrast.functional.nests import is_texts

EXCHANGED = 8192
"""Rows of each process that travel at once."""


class Cached(Encoder):
    """Another encoder, frozen and in evaluation mode; in a fit every input is encoded once, and looked up afterwards.

    For training a head (or what an objective trains) on a pretrained network: later epochs cost the head alone. Inputs
    are known by their content (:func:`~lightning_contrast.functional.content_keys.content_keys`), not by their place:
    queries, documents, negatives, views and validation share one table, equal inputs one row, and changed data are other
    inputs. Processes exchange what they have encoded before each epoch. The table ends with the fit and is in no
    checkpoint: a resumed run encodes once more.

    Inputs must be the same every epoch: ``ContrastiveModule`` reads a few samples twice before training and refuses random
    views, and views that only dropout would tell apart.

    Args:
        encoder: inputs to ``[N, D]``; everything in it is frozen.
        dtype: of the kept rows; ``float16`` takes half the memory and rounds them.
        max_gb: of a process's table; what does not fit is encoded every time, and told once.
        folder: keep the rows in a file there, which vanishes with the process, instead of memory.

    Raises:
        ValueError: for values out of range, or an encoder of which a part is frozen already and another is not
            (adapters, prompts): it is there to train.

    Example:
        >>> encoder = Cached(torch.nn.Linear(3, 2))
        >>> encoder(torch.zeros(4, 3)).requires_grad
        False
    """

    def __init__(
        self,
        encoder: EncoderLike,
        dtype: Literal["float32", "float16"] = "float32",
        max_gb: float = 4.0,
        folder: str | None = None,
    ) -> None:
        super().__init__()
        if dtype not in ("float32", "float16") or not max_gb > 0:
            raise ValueError(f"dtype={dtype!r}, max_gb={max_gb}: use 'float32' or 'float16', and a number above 0.")
        trains = {p.requires_grad for p in encoder.parameters()}
        if len(trains) > 1:
            raise ValueError(
                f"Cached freezes {type(encoder).__name__}, of which some parameters are frozen already and others are to train "
                "(lora, prompts): train it without Cached, or leave the adapters out."
            )
        self.encoder, self.dtype, self.max_gb, self.folder = encoder, dtype, max_gb, folder
        self.output_dim = getattr(encoder, "output_dim", None)
        self.encoder.requires_grad_(False)
        self.encoded = 0
        """Rows that went through the encoder in this fit, on this process."""
        self._active, self._told = False, False
        self._kind: torch.dtype | None = None
        self._forget()
        self.train()

    def train(self, mode: bool = True) -> "Cached":
        """The encoder stays in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    @torch.compiler.disable
    @torch.no_grad()
    def forward(self, x: Any) -> Tensor:
        """``[N, D]``, without gradient."""
        if not self._active:
            return self.encoder(x)
        if any(p.requires_grad for p in self.encoder.parameters()):
            raise RuntimeError(
                "A part of the Cached encoder was unfrozen: what was kept of it would be outdated. Train it without Cached."
            )
        keys = content_keys(x, _precision(x))
        names = list(map(tuple, keys.tolist()))
        row = torch.tensor([self._row.get(name, -1) for name in names])
        known, out = row >= 0, None
        if bool(known.any()):
            out = self._table[row.clamp(min=0)]
        if not bool(known.all()):
            new = {names[i]: i for i in reversed((~known).nonzero()[:, 0].tolist())}
            made = self._encoded(x, torch.tensor(list(new.values()), device=keys.device), len(names))
            self._keep(list(new), made)
            place = dict(zip(new, range(len(new)), strict=True))
            fresh = made[torch.tensor([place[name] for name in names if name in place])]
            if out is None:
                out = fresh
            else:
                out[~known] = fresh
        assert out is not None
        return out.to(keys.device, self._kind)

    def _encoded(self, x: Any, rows: Tensor, count: int) -> Tensor:
        def cut(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                return leaf[rows.to(leaf.device)]
            return [leaf[row] for row in rows.tolist()] if is_texts(leaf) else leaf

        made = self.encoder(x if len(rows) == count else tree_map(cut, x, is_leaf=is_texts))
        if not isinstance(made, Tensor) or made.dim() != 2:
            raise ValueError(
                "Cached keeps one vector a row, [N, D]; this encoder gives something else: leave Cached out."
            )
        if len(rows) == count:
            made = made[rows]
        self.encoded += len(rows)
        self._kind = made.dtype
        return made.detach().to("cpu", getattr(torch, self.dtype))

    # The table ----------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._row: dict[tuple[int, ...], int] = {}
        self._table = torch.empty(0, 0)
        self._used, self._shared, self._kind = 0, 0, None

    def _keep(self, names: list[tuple[int, ...]], rows: Tensor) -> None:
        most = int(self.max_gb * 1e9 / (rows.shape[1] * rows.element_size()))
        room = min(len(names), most - self._used)
        if room < len(names) and not self._told:
            self._told = True
            rank_zero_warn(
                f"Cached(max_gb={self.max_gb}) is full with {most} rows of {rows.shape[1]} numbers; further inputs are encoded "
                "every time. Raise max_gb, perhaps with folder=... on disk, or take dtype='float16'."
            )
        if self._used + room > len(self._table) or self._table.dim() != 2 or not self._table.shape[1]:
            self._table = self._larger(rows, most)
        self._table[self._used : self._used + room] = rows[:room]
        self._row.update(zip(names[:room], range(self._used, self._used + room), strict=True))
        self._used += room

    def _larger(self, rows: Tensor, most: int) -> Tensor:
        shape = (min(most, max(1024, 2 * self._used, self._used + len(rows))), rows.shape[1])
        if self.folder is None:
            out = rows.new_empty(shape)
            out[: self._used] = self._table[: self._used] if self._used else out[:0]
            return out
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        path = Path(self.folder) / f".cached-{os.getpid()}-{id(self)}"
        file = np.memmap(path, rows.numpy().dtype, "w+", shape=(most, rows.shape[1]))  # sparse: grows as it is written
        path.unlink()  # the memory map holds it, and nothing stays behind a killed process
        return torch.from_numpy(file)

    # The fit ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A fit begins: what is encoded from now on is kept."""
        self._forget()
        self._active, self.encoded = True, 0

    def end(self) -> None:
        """The fit has ended."""
        self._forget()
        self._active = False

    def share(self, device: torch.device) -> None:
        """Every process gets what the others have encoded since the last time; all call it together.

        Args:
            device: where rows can travel.
        """
        if world_size() == 1 or not self._active:
            return
        names = list(self._row)[self._shared :]  # in the order of their rows
        kinds = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
        kind = -1 if self._kind is None else kinds.index(self._kind)
        said = all_sizes(len(names), self._table.shape[1], kind, device=device)
        if not any(s[0] for s in said):
            return
        width, self._kind = max(s[1] for s in said), kinds[max(s[2] for s in said)]
        start, first = self._shared, 0
        dtype = getattr(torch, self.dtype)
        mine = self._table[start : self._used] if names else torch.empty(0, width, dtype=dtype)
        while first < max(s[0] for s in said):
            part = slice(first, first + EXCHANGED)
            sizes = [len(range(s[0])[part]) for s in said]
            keys = gather_rows(torch.tensor(names[part], dtype=torch.int64, device=device).reshape(-1, 2), sizes)
            rows = gather_rows(mine[part].to(device), sizes).cpu()
            new = {tuple(key): i for i, key in enumerate(keys.tolist()) if tuple(key) not in self._row}
            if new:
                self._keep(list(new), rows[torch.tensor(list(new.values()))])
            first += EXCHANGED
        self._shared = self._used


def _precision(x: Any) -> int:
    """Outputs under another autocast are others."""
    kinds = ("cpu", "cuda")
    return sum(
        (2 + int(torch.get_autocast_dtype(kind) == torch.bfloat16)) << 2 * place
        for place, kind in enumerate(kinds)
        if torch.is_autocast_enabled(kind)
    )
