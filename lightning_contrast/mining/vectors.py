"""Vectors of another model, by the samples' index."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Vectors:
    """Read from an ``.npz`` with ``embedding`` ``[N, T]`` and ``index`` ``[N]``, such as ``predict`` writes.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: where there is none.
        ValueError: for a file that is truncated, foreign or contradicts itself.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file; `lightning-contrast predict` makes one.")
        try:
            with np.load(self.path, allow_pickle=False) as file:
                held = {name: file[name] for name in ("embedding", "index") if name in file.files}
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise ValueError(f"{path}: truncated, or no .npz at all ({error}).") from error
        if set(held) != {"embedding", "index"} or held["embedding"].ndim != 2 or held["index"].dtype.kind != "i":
            raise ValueError(f"{path}: needs 'embedding' [N, T] and 'index' int [N]; it has {sorted(held)}.")
        index = torch.from_numpy(held["index"])
        if (
            len(index) != len(held["embedding"])
            or len(index.unique()) != len(index)
            or not np.isfinite(held["embedding"]).all()
        ):
            raise ValueError(f"{path}: needs one finite vector a sample, each index once.")
        self._ordered, order = index.sort()
        self._z = F.normalize(torch.from_numpy(held["embedding"]).float(), dim=1)[order]

    def of(self, index: Tensor) -> Tensor:
        """Vectors ``[n, T]`` of unit norm of these samples, on their device.

        Raises:
            ValueError: for a sample that the file lacks.
        """
        wanted = index.cpu()
        place = torch.searchsorted(self._ordered, wanted).clamp(max=len(self._ordered) - 1)
        absent = self._ordered[place] != wanted
        if bool(absent.any()):
            raise ValueError(
                f"{self.path}: has no vector of sample {int(wanted[absent][0])}; embed the training split."
            )
        return self._z[place].to(index.device)
