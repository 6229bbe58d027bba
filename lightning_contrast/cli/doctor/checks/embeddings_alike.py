"""Does the encoder tell inputs apart before it is trained?"""

from collections.abc import Iterator

import torch

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-constant", "inputs-not-finite")


def check(seen: Observation) -> Iterator[Finding]:
    """``embeddings-alike``."""
    if not seen.steps or not seen.steps[0].contrasts or seen.rows < 4:
        return
    z = seen.steps[0].contrasts[0][0].anchors.first.float()
    spread = float((z - z.mean(0)).norm() / z.norm().clamp(min=torch.finfo(z.dtype).tiny))
    if float(z.norm()) > 0 and spread > 1e-5:
        return
    yield Finding(
        "embeddings-alike",
        "error",
        f"the first {len(z)} embeddings are one point (spread {spread:.1g} of their length)",
        "All scores are equal, so that there is no gradient that could move them apart.",
        "--model.encoder and --model.head: units that are all dead (inputs of the wrong sign or scale, a large negative "
        "bias), or an output that does not depend on the input",
    )
