"""A table of vectors, one a word, from a file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_contrast.functional.model_place import model_place


def read_vectors(place: str) -> Tensor:
    """The one matrix of a file, float32 ``[V, D]``.

    Args:
        place: ``.safetensors``, ``.npz`` or ``.npy``; inside an installed Python package ``package:NAME/FILE``.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: for another kind of file, one that is cut short, none or several matrices, or numbers that are not finite.
        ImportError: for ``.safetensors`` without that package.
    """
    path = Path(model_place(place))
    if path.suffix not in (".safetensors", ".npz", ".npy"):
        raise ValueError(f"{place}: a table of vectors is a .safetensors, .npz or .npy file.")
    if not path.is_file():
        raise FileNotFoundError(f"{place}: there is no such file.")
    try:
        held = _safetensors(path) if path.suffix == ".safetensors" else _numpy(path)
    except ImportError as error:
        raise ImportError(f'{place} needs the package safetensors: pip install "lightning-contrast[text]"') from error
    except Exception as error:  # each format has its own errors, all for files that are cut short or of another kind
        raise ValueError(f"{place}: cannot be read as {path.suffix} ({error}).") from error
    tables = {name: value for name, value in held.items() if value.ndim == 2 and value.is_floating_point()}
    if len(tables) != 1:
        found = ", ".join(f"{name} {list(value.shape)}" for name, value in held.items())
        raise ValueError(f"{place}: must hold one matrix [words, width] of floating-point numbers; it holds {found}.")
    ((name, table),) = tables.items()
    if not table.isfinite().all():
        raise ValueError(f"{place}: {name} has numbers that are not finite.")
    return table.float()


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _numpy(path: Path) -> dict[str, Tensor]:
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return {"array": torch.from_numpy(held)}
    with held:
        return {name: torch.from_numpy(held[name]) for name in held.files}
