"""What is known of every sample without reading it: labels, ids."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset


def column(samples: Any, name: str) -> Tensor:
    """One integer a sample, int64 ``[N]``; equal values get equal integers, whatever they are.

    Args:
        samples: The values themselves (a tensor, an array, a list of anything hashable), a table or mapping with a
            column `name`, or a data set with an attribute `name` or `name` + ``s`` (or ``targets`` for ``label``). What
            wraps another data set as ``dataset`` is looked through, with ``indices`` as in ``Subset``.
        name: Such as ``label``.

    Raises:
        ValueError: If it is not found, or is no single value a sample.

    Example::

        >>> column(["a", "b", "a"], "title").tolist()
        [0, 1, 0]
        >>> column({"title": torch.tensor([7, 9])}, "title").tolist()
        [7, 9]
    """
    values = _find(samples, name)
    if isinstance(values, (Tensor, np.ndarray)):
        values = torch.as_tensor(values)
        if values.dim() != 1 or not len(values) or values.is_floating_point():
            raise ValueError(
                f"{name!r} must be integers [N] with N >= 1, one a sample, got {values.dtype} {list(values.shape)}"
            )
        return values.long()
    codes: dict[Hashable, int] = {}
    return torch.tensor([codes.setdefault(value, len(codes)) for value in values], dtype=torch.int64)


def _find(samples: Any, name: str) -> Any:
    if isinstance(samples, (Tensor, np.ndarray, list, tuple)):
        if isinstance(samples, (list, tuple)) and samples and all(isinstance(value, int) for value in samples):
            return torch.tensor(samples)
        return samples
    if name in (samples if isinstance(samples, Mapping) else getattr(samples, "column_names", ())):
        return _find(samples[name], name)
    for attribute in (name, f"{name}s", *(("targets",) if name == "label" else ())):
        values = getattr(samples, attribute, None)
        if values is not None and not callable(values):
            return _find(values, name)
    if isinstance(samples, Subset):
        return column(samples.dataset, name)[torch.as_tensor(samples.indices)]
    if getattr(samples, "dataset", None) is not None:
        return _find(samples.dataset, name)
    raise ValueError(
        f"{type(samples).__name__} does not say the {name!r} of its samples: give it an attribute {name!r} with one value "
        "a sample, or pass the values instead of the data set"
    )
