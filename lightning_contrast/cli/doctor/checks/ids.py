"""Does the index say which item a sample is?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-constant",)


def check(seen: Observation) -> Iterator[Finding]:
    """``ids-repeat``."""
    if not seen.steps or not seen.inputs:
        return
    index, n = seen.steps[0].batch["index"].cpu(), seen.rows
    different = len(index.unique())
    inputs = len(seen.inputs[0][:n].unique(dim=0))
    if n < 4 or different >= 0.5 * n or different >= 0.5 * inputs:
        return
    yield Finding(
        "ids-repeat",
        "error",
        f"a batch of {n} samples ({inputs} different inputs) has only {different} different values of `index`",
        "Rows of one index are one item and never negatives of each other: most negatives are taken out.",
        "let the data set give each sample its own row number as `index` (ContrastiveDataset does)",
    )
