"""Can the answer be read off the input?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.numbers import is_discrete
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.data.batch import batch_inputs

UNLESS = ("views-identical", "inputs-not-finite", "inputs-constant")
EXPLAINED = 0.995  # share of a column's variance between labels
LEAST = 24
EACH = 5  # rows of a label


def check(seen: Observation) -> Iterator[Finding]:
    """``label-leaks``, ``id-leaks``."""
    if not seen.inputs or len(seen.inputs[0]) < LEAST:
        return
    label = seen.payload("label")
    if label is not None and not label.is_floating_point() and label.dim() == 1:
        told = [label_columns(x, label) for x in seen.inputs]
        if all(len(columns) for columns in told):
            yield Finding(
                "label-leaks",
                "error",
                f"{len(told[0])} of {seen.inputs[0].shape[1]} input columns (first: {int(told[0][0])}) tell the label "
                "alone, in every view",
                "The network learns to read the label there and nothing else; every evaluation by label is worthless.",
                "take the label out of the inputs (a watermark, a column, a word of the text)",
            )
    if len(seen.inputs) < 2 or any(is_discrete(x) for x in batch_inputs(seen.steps[0].batch).values()):
        return
    one, two = seen.inputs[:2]
    if one.shape != two.shape or torch.equal(one, two):  # one input for both towers is no leak
        return
    columns = id_columns(one, two)
    if len(columns):
        yield Finding(
            "id-leaks",
            "error",
            f"{len(columns)} of {one.shape[1]} input columns (first: {int(columns[0])}) are equal in both views of every "
            f"sample, and together differ between all {len(one)} samples",
            "They name the sample: positives are found by them alone, and nothing else is learned.",
            "take ids, row numbers and time stamps out of the inputs, or let the augmentation reach these columns too",
        )


def label_columns(x: Tensor, label: Tensor) -> Tensor:
    """Columns whose values are explained by the label alone; none where there are too few rows to tell.

    Of a label that few rows have, any column that is theirs alone (a rare word) would be an explanation.
    """
    _, member, count = label.unique(return_inverse=True, return_counts=True)
    often = count[member] >= EACH
    x, label = x[often], label[often]
    classes, member = label.unique(return_inverse=True)
    if len(classes) < 2:
        return torch.empty(0, dtype=torch.int64)
    count = torch.zeros(len(classes)).index_add_(0, member, torch.ones(len(x)))
    middle = torch.zeros(len(classes), x.shape[1]).index_add_(0, member, x) / count[:, None]
    whole = (x - x.mean(0)).square().sum(0)
    within = (x - middle[member]).square().sum(0)
    return ((whole > 1e-6 * len(x)) & (within < (1 - EXPLAINED) * whole)).nonzero()[:, 0]


def id_columns(one: Tensor, two: Tensor) -> Tensor:
    """Columns that agree in both views of every row, where together they differ between all rows; else none."""
    scale = one.std(0)
    same = ((one - two).abs() <= 1e-4 * scale.clamp(min=1e-6)).all(0) & (scale > 1e-4)
    rows = one[:, same].round(decimals=4).unique(dim=0) if bool(same.any()) else one[:0]
    return same.nonzero()[:, 0] if len(rows) == len(one) else torch.empty(0, dtype=torch.int64)
