"""Are mined negatives negatives?"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks import HardNegativeRefresh
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.numbers import as_numbers
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.data.batch import batch_inputs

UNLESS = ("inputs-constant",)
SOME = 0.05


def check(seen: Observation) -> Iterator[Finding]:
    """``mined-are-positives``."""
    for who, share, how in _shares(seen):
        if share > SOME:
            yield Finding(
                "mined-are-positives",
                "error" if share > 0.5 else "warning",
                f"{share:.0%} of the {who} {how}",
                "Hard negatives have the largest gradients of all: false ones teach the opposite of what is wanted.",
                "HardNegativeRefresh: same_label true where there are labels, range_min, max_score or a margin; for "
                "negatives of the data set, filter what equals the positive",
            )


def _shares(seen: Observation) -> Iterator[tuple[str, float, str]]:
    for refresh in seen.trainer.callbacks:
        if isinstance(refresh, HardNegativeRefresh) and refresh.table is not None and refresh.index is not None:
            share = _by_label(refresh, seen.payload("label"), seen.payload("index"))
            if share is not None:
                yield "negatives that HardNegativeRefresh mined", share, "have the label of their anchor"
    share = _given(seen)
    if share is not None:
        yield "negatives that the batches bring", share, "equal their anchor's input or its positive"


def _by_label(refresh: Any, label: Tensor | None, index: Tensor | None) -> float | None:
    """Of mined pairs whose labels are both known from the batches seen."""
    if label is None or index is None or label.dim() != 1:
        return None
    known = dict(zip(index.tolist(), label.tolist(), strict=True))
    ids, table = refresh.index.tolist(), refresh.table.tolist()
    row_of = {one: row for row, one in enumerate(ids)}
    same = [
        known[ids[row]] == own
        for one, own in known.items()
        for row in table[row_of[one]]
        if row >= 0 and ids[row] in known
    ]
    return sum(same) / len(same) if len(same) >= 20 else None


def _given(seen: Observation) -> float | None:
    """Of explicit negatives, those that are the anchor's or positive's input again."""
    batch: Any = seen.steps[0].batch if seen.steps else {}
    if "negative" not in batch:
        return None
    negatives = as_numbers(batch["negative"])
    sides = [as_numbers(x) for x in batch_inputs(batch).values()]
    each = len(negatives) // seen.rows
    same = torch.zeros(len(negatives), dtype=torch.bool)
    for side in sides:
        if side.shape[1] == negatives.shape[1]:
            same |= (negatives == side.repeat_interleave(each, 0)).all(1)
    return float(same.float().mean())
