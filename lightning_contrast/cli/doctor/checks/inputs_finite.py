"""Are the inputs numbers?"""

from collections.abc import Iterator

import torch

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation


def check(seen: Observation) -> Iterator[Finding]:
    """``inputs-not-finite``."""
    for x in seen.inputs:
        bad = int((~torch.isfinite(x)).any(1).sum())
        if bad:
            yield Finding(
                "inputs-not-finite",
                "error",
                f"{bad} of {len(x)} inputs hold NaN or infinity",
                "One such sample makes the loss, and by the next step every weight, NaN.",
                "the data, or the augmentation that makes them (a division by a standard deviation of 0?)",
            )
            return
