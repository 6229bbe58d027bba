"""What of a batch is encoded, and what travels with it as payload."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair
from lightning_contrast.data.batch import PAIRS, batch_inputs

_NOT_PAYLOAD = {
    "views",
    "input",
    "negative",
    "negative_id",
    "has_negative",
    *(name + more for pair in PAIRS for name in pair for more in ("", "_view")),
}


@dataclass(frozen=True)
class Inputs:
    """Either ``views``, or ``anchors`` and ``positives`` and perhaps ``negatives``."""

    views: list[Any] | None = None
    anchors: Any = None
    positives: Any = None
    negatives: Any = None
    negative_id: Tensor | None = None
    """``document_id`` of the negatives, ``[N, H]``."""
    has_negative: Tensor | None = None
    """Which of them are there, 0 or 1, ``[N, H]``; ``None`` is all."""


def inputs_of(batch: Mapping[str, Any]) -> Inputs:
    """The inputs to encode, by the batch contract."""
    inputs = list(batch_inputs(batch).values())
    if "views" in batch:
        return Inputs(views=inputs)
    known = {key: batch.get(key) for key in ("negative_id", "has_negative") if "negative" in batch}
    return Inputs(anchors=inputs[0], positives=inputs[1], negatives=batch.get("negative"), **known)


def payload_of(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that is a tensor: index, label, score, time, ..."""
    return {key: value for key, value in batch.items() if key not in _NOT_PAYLOAD and isinstance(value, Tensor)}


def with_negatives_known(contrast: Contrast, inputs: Inputs) -> Contrast:
    """What is known of hard negatives, at their block: ``document_id``, -1 where unknown (they answer no query, and have
    no label), and which are there at all; the others do not exist.

    Raises:
        ValueError: for another number of ids than of negatives.
    """
    if inputs.negative_id is not None:
        ids = _of_negatives(
            contrast, "negative_id", inputs.negative_id, "the document_id of each, -1 where it is unknown"
        )
        nobody = torch.full_like(ids, -1)
        known = {"label": nobody} if "label" in contrast.anchors.payload else {}
        contrast = contrast.attach("negative", document_id=ids, query_id=nobody, **known)
    if inputs.has_negative is not None:
        there = _of_negatives(contrast, "has_negative", inputs.has_negative, "1 for those that are there, 0 for others")
        contrast = contrast.attach("negative", is_there=there).exclude(_is_absent, on=("negative",))
    return contrast


def _is_absent(pair: Pair) -> Tensor:
    return pair.candidate.is_there == 0


def _of_negatives(contrast: Contrast, key: str, values: Tensor, what: str) -> Tensor:
    (block,) = (b for b in contrast.candidates if b.name == "negative")
    shape = block.first.shape[: 2 if block.where == "private" else 1]  # rows may be tokens
    if values.numel() != shape.numel():
        raise ValueError(
            f"batch[{key!r}] is {list(values.shape)}, but there are {shape.numel()} negatives: give {what}, [N, H]."
        )
    return values.reshape(shape)
