"""What of a batch is encoded, and what travels with it as payload."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.data.batch import PAIRS, batch_inputs

_NOT_PAYLOAD = {"views", "input", "negative", "negative_id", *(name for pair in PAIRS for name in pair)}


@dataclass(frozen=True)
class Inputs:
    """Either ``views``, or ``anchors`` and ``positives`` and perhaps ``negatives``."""

    views: list[Any] | None = None
    anchors: Any = None
    positives: Any = None
    negatives: Any = None
    negative_id: Tensor | None = None
    """``document_id`` of the negatives, ``[N, H]``."""


def inputs_of(batch: Mapping[str, Any]) -> Inputs:
    """The inputs to encode, by the batch contract."""
    inputs = list(batch_inputs(batch).values())
    if "views" in batch:
        return Inputs(views=inputs)
    ids = batch.get("negative_id") if "negative" in batch else None
    return Inputs(anchors=inputs[0], positives=inputs[1], negatives=batch.get("negative"), negative_id=ids)


def payload_of(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that is a tensor: index, label, score, time, ..."""
    return {key: value for key, value in batch.items() if key not in _NOT_PAYLOAD and isinstance(value, Tensor)}


def with_negative_id(contrast: Contrast, ids: Tensor) -> Contrast:
    """The ``document_id`` of hard negatives, ``[N, H]``, -1 where unknown, at their block; they answer no query.

    Raises:
        ValueError: for another number of ids than of negatives.
    """
    (block,) = (b for b in contrast.candidates if b.name == "negative")
    shape = block.first.shape[: 2 if block.where == "private" else 1]  # rows may be tokens
    if ids.numel() != shape.numel():
        raise ValueError(
            f"batch['negative_id'] is {list(ids.shape)}, but there are {shape.numel()} negatives: give the document_id of "
            "each, [N, H], -1 where it is unknown."
        )
    ids = ids.reshape(shape)
    return contrast.attach("negative", document_id=ids, query_id=torch.full_like(ids, -1))
