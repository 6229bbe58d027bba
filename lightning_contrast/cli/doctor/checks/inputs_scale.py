"""Have the inputs a size that networks are made for?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.numbers import is_discrete
from lightning_contrast.cli.doctor.observation import Observation
from lightning_contrast.data.batch import batch_inputs

UNLESS = ("inputs-not-finite",)
LARGE = 20.0  # root mean square; pixels of 0 to 255 have about 100, normalised ones 1


def check(seen: Observation) -> Iterator[Finding]:
    """``inputs-not-normalised``, ``inputs-constant``."""
    if not seen.steps or any(is_discrete(x) for x in batch_inputs(seen.steps[0].batch).values()):
        return
    for number, x in enumerate(seen.inputs):
        size = float(x.square().mean().sqrt())
        if float(x.std(0).max()) == 0:
            yield Finding(
                "inputs-constant",
                "error",
                f"all {len(x)} inputs of view {number} are the same",
                "There is nothing by which to tell samples apart.",
                "the data set, or the augmentation (values clipped or normalised to one number?)",
            )
            return
        if size > LARGE:
            yield Finding(
                "inputs-not-normalised",
                "warning",
                f"inputs have a root mean square of {size:.4g} (from {float(x.min()):.4g} to {float(x.max()):.4g})",
                "Networks are initialised for inputs of about 1: larger ones give large first steps and dead units.",
                "normalise: --data.augmentation.normalize, or scale the data to mean 0 and standard deviation 1",
            )
            return
