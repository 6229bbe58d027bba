"""Do the two views have anything in common?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.numbers import partner_ranking
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-not-finite", "inputs-constant", "views-identical", "embeddings-alike", "ids-repeat")
RELATED = 0.6
LEAST = 24  # rows, below which chance alone reaches further


def check(seen: Observation) -> Iterator[Finding]:
    """``views-unrelated``."""
    if not seen.one_tower or seen.ranking is None or len(seen.inputs) < 2 or len(seen.inputs[0]) < LEAST:
        return
    one, two = seen.inputs[:2]
    pixels = partner_ranking(one, two) if one.shape == two.shape else 0.5
    if max(pixels, seen.ranking) >= RELATED or min(pixels, seen.ranking) < 1 - RELATED:
        return
    yield Finding(
        "views-unrelated",
        "error",
        f"a sample's own other view is nearer than another sample's in {pixels:.0%} of cases by the inputs and "
        f"{seen.ranking:.0%} by the untrained encoder, where chance is 50%",
        "Views that share nothing cannot be matched: the loss stays at chance, or the network learns by heart. Either they "
        "are too different, or row i of one does not belong to row i of the other.",
        "a gentler --data.augmentation (larger crops: scale), or the order of the pairs in the data set",
    )
