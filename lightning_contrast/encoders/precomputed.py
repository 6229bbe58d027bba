"""A teacher whose vectors were made beforehand."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.teacher import Teacher
from lightning_contrast.functional.by_index import looked_up, rows_by_index


class Precomputed(Teacher):
    """Vectors by the index of the sample, from a file; not part of checkpoints.

    Args:
        path: ``.npz`` with ``embedding`` ``[M, D]`` and ``index`` ``[M]``, as ``lightning-contrast predict`` writes; or
            ``.npy`` with row ``i`` for index ``i``, which is not read into memory; see
            :func:`~lightning_contrast.functional.by_index.rows_by_index`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a file that holds no such vectors; for a sample without one.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.vectors, self.row = rows_by_index(path, f"Precomputed({path!r})")

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
        row = looked_up(self.row, index.cpu(), -1)
        rows = self.vectors[row.clamp(min=0)].float()
        lost = index.cpu()[(row < 0) | ~rows.isfinite().all(1)]
        if len(lost):
            raise ValueError(
                f"Precomputed({self.path!r}) has no vector for index {int(lost[0])} ({len(lost)} of the batch's "
                f"{len(row)} samples), or one that is not finite: make the file from the whole training data."
            )
        return rows.to(index.device)

    def forward(self, x: Any) -> Tensor:
        """Refused: inputs do not tell which sample they are."""
        raise RuntimeError(
            "Precomputed knows samples by their index, not by their input, so it cannot be a key_encoder: use it in "
            "TeacherEmbedding(teacher=...)."
        )

    def train(self, mode: bool = True) -> "Precomputed":
        """Stays in evaluation mode."""
        super().train(False)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Precomputed":
        """Itself: nothing of it changes, and the table may be larger than the network."""
        return self
