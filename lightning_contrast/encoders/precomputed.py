"""A teacher whose vectors were made beforehand."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from lightning_contrast.encoders.teacher import Teacher


class Precomputed(Teacher):
    """Vectors by the index of the sample, from a file; not part of checkpoints.

    Args:
        path: ``.npz`` with ``embedding`` ``[M, D]`` and ``index`` ``[M]``, as ``lightning-contrast predict`` writes; or
            ``.npy`` with row ``i`` for index ``i``, which is not read into memory.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that holds no such vectors; for a sample without one.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.vectors, self.row = _read(Path(path))

    @property
    def ready(self) -> bool:
        """Always."""
        return True

    def follow(self, online: nn.Module) -> None:
        """Follows nobody."""

    @torch.no_grad()
    def embed(self, inputs: Any, index: Tensor | None = None) -> Tensor:
        """The vectors ``[N, D]`` of the samples ``index``, float32, on its device."""
        if index is None:
            raise ValueError(f"Precomputed({self.path!r}) finds vectors by the sample's 'index', and there is none.")
        place = index.cpu().numpy()
        known = (place >= 0) & (place < len(self.row))
        row = np.where(known, self.row[np.where(known, place, 0)], -1) if len(self.row) else np.full_like(place, -1)
        if (row < 0).any():
            lost = place[row < 0]
            raise ValueError(
                f"Precomputed({self.path!r}) has no vector for index {int(lost[0])} ({len(lost)} of the batch's "
                f"{len(place)} samples): make the file from the whole training data."
            )
        return torch.from_numpy(np.ascontiguousarray(self.vectors[row], dtype=np.float32)).to(index.device)

    def forward(self, x: Any) -> Tensor:
        """Refused: inputs do not tell which sample they are."""
        raise RuntimeError(
            "Precomputed knows samples by their index, not by their input, so it cannot be a key_encoder: use it in "
            "TeacherEmbedding(teacher=...)."
        )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, and the row of each index (-1: none)."""
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r}: no such file; `lightning-contrast predict` writes one.")
    try:
        if path.suffix == ".npy":
            vectors = np.load(path, mmap_mode="r")
            index = np.arange(len(vectors))
        else:
            with np.load(path) as held:
                vectors, index = held["embedding"], held["index"]
    except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"path={str(path)!r} is truncated, or no .npz with 'embedding' and 'index', nor an .npy: {error}"
        ) from error
    if vectors.ndim != 2 or len(index) != len(vectors) or not len(index) or int(index.min()) < 0:
        raise ValueError(
            f"path={str(path)!r}: 'embedding' must be [M, D] with an 'index' >= 0 for each row, got "
            f"{list(vectors.shape)} and {list(index.shape)}."
        )
    row = np.full(int(index.max()) + 1, -1, dtype=np.int64)
    row[index] = np.arange(len(index))
    return vectors, row
