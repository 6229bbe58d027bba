"""Do the two views differ at all?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-not-finite", "inputs-constant")
SAME = 1e-3  # squared distance of partners, of that of strangers


def check(seen: Observation) -> Iterator[Finding]:
    """``views-identical``."""
    if not seen.one_tower or len(seen.inputs) < 2:
        return
    one, two = seen.inputs[:2]
    if one.shape != two.shape or len(one) < 2:
        return
    partners = float((one - two).square().sum(1).mean())
    strangers = float((one - two.roll(1, 0)).square().sum(1).mean())
    if partners >= SAME * strangers or seen.noise is None or seen.noise > SAME:  # dropout makes views too (SimCSE)
        return
    same = float((one == two).all(1).float().mean())
    yield Finding(
        "views-identical",
        "error",
        f"the two views of a sample are {partners / max(strangers, 1e-12):.1e} as far apart as views of different "
        f"samples ({same:.0%} are equal), and the encoder draws nothing at random",
        "Positives are solved without learning anything: the network becomes no invariant of anything.",
        "--data.augmentation (crops, contrast, noise), or dropout in the encoder",
    )
