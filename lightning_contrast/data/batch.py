"""The batch contract: what a training batch must hold, checked from shapes alone, without a device sync.

A batch is a mapping with

- the inputs: ``views`` (a list of V inputs of the same N samples), or two named inputs (`PAIRS`), with
  ``negative`` beside them if there are hard negatives, perhaps with ``negative_id`` ``[N, H]``, their ``document_id``, and
  ``has_negative`` ``[N, H]``, 0 for those that do not exist;
- ``index``: the position of each sample in the data set, int64 ``[N]``, always;
- optionally ``label``, ``score``, ``time``, ... : payload with N rows.

An input is a tensor ``[N, ...]``, or a tuple, list or mapping of such tensors (tokens and their mask).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

PAIRS: tuple[tuple[str, str], ...] = (
    ("anchor", "positive"),
    ("query", "document"),
    ("image", "text"),
)
"""The named inputs that make pairs: row i of one belongs to row i of the other."""

_WRAP = "wrap the data set: ContrastiveDataset(dataset, views=your_transform) yields views, index and label"


class BatchError(ValueError):
    """A batch that breaks the contract; the message says what to change."""


def input_length(value: Any) -> int:
    """Number of rows N of an input: of a tensor, or of the first tensor in a tuple, list or mapping.

    Raises:
        BatchError: If there is no tensor.
    """
    if isinstance(value, Tensor):
        if value.dim() == 0:
            raise BatchError("an input of the batch is a tensor without dimensions, it must be [N, ...]")
        return value.shape[0]
    parts = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(parts, Sequence) and not isinstance(parts, str) and parts:
        # a list of N strings counts its strings
        return len(parts) if isinstance(parts[0], str) else input_length(parts[0])
    raise BatchError(f"an input of the batch must be tensors [N, ...], got {type(value).__name__}")


def batch_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs by name, in order: ``view0``, ``view1``, ... or the two of `PAIRS`; without ``negative``.

    Raises:
        BatchError: If there are none.
    """
    if "views" in batch:
        views = batch["views"]
        if isinstance(views, Tensor) or not isinstance(views, Sequence):
            raise BatchError(
                f"batch['views'] must be a list with one input per view, got {_describe(views)}; "
                "of a tensor [V, N, ...] pass list(views)"
            )
        return {f"view{number}": view for number, view in enumerate(views)}
    for names in PAIRS:
        if all(name in batch for name in names):
            return {name: batch[name] for name in names}
    pairs = ", ".join("/".join(names) for names in PAIRS)
    raise BatchError(
        f"the batch has neither 'views' nor two named inputs ({pairs}); its keys are {sorted(batch)}. {_WRAP}"
    )


def check_batch(batch: Any, labels_make_pairs: bool = False, need: Sequence[str] = (), one_view: bool = False) -> None:
    """Check a batch against the contract.

    Args:
        batch: What the loader gave.
        labels_make_pairs: Whether one view is enough, since rows of one label are positives of each other.
        need: Payload that the objective reads, such as ``("label",)``.
        one_view: Whether one view is enough for another reason.

    Raises:
        BatchError: With what is wrong and what to do.
    """
    if not isinstance(batch, Mapping):
        kind = f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, (tuple, list)) else _describe(batch)
        raise BatchError(f"the batch must be a mapping with 'views' and 'index', got {kind}. {_WRAP}")
    inputs = batch_inputs(batch)
    lengths = {name: input_length(value) for name, value in inputs.items()}
    if not inputs:
        raise BatchError(f"batch['views'] is empty. {_WRAP}")
    rows = next(iter(lengths.values()))
    if len(set(lengths.values())) > 1:
        raise BatchError(f"row i of every input must be the same sample, but their lengths differ: {lengths}")
    if len(inputs) == 1 and not one_view and not (labels_make_pairs and "label" in batch):
        raise BatchError(
            "the batch has one view, which has no positive: use two views (n_views=2), or labels with an "
            f"objective whose positives are the rows of the same label (SupCon); its keys are {sorted(batch)}"
        )
    _check_index(batch, rows)
    for name in need:
        if name not in batch:
            raise BatchError(
                f"the objective needs batch['{name}'], which the batch lacks; its keys are "
                f"{sorted(batch)}. A data set of (input, label) wrapped in ContrastiveDataset yields labels; "
                "for other payload let it yield mappings"
            )
    for name, value in batch.items():
        # `input` and `negative` may have several rows a sample; what is no tensor is not ours
        if name in ("views", "index", "input", "negative", *lengths) or not isinstance(value, Tensor):
            continue
        if value.dim() == 0 or value.shape[0] != rows:
            raise BatchError(f"batch['{name}'] must have one row per sample, [{rows}, ...], got {list(value.shape)}")


def _check_index(batch: Mapping[str, Any], rows: int) -> None:
    if "index" not in batch:
        raise BatchError(
            f"the batch lacks 'index', the position of each sample in the data set (int64 [{rows}]), by "
            f"which rows that are the same item are recognised; its keys are {sorted(batch)}. {_WRAP}"
        )
    index = batch["index"]
    if not isinstance(index, Tensor) or index.dtype != torch.int64 or tuple(index.shape) != (rows,):
        raise BatchError(f"batch['index'] must be int64 [{rows}], got {_describe(index)}")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    return f"a {type(value).__name__}"
