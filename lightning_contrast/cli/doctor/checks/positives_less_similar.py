"""Are positives more similar than negatives to begin with?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-not-finite", "inputs-constant", "embeddings-alike", "ids-repeat")
LESS = 0.35


def check(seen: Observation) -> Iterator[Finding]:
    """``positives-less-similar``."""
    if seen.ranking is None or seen.ranking > LESS or seen.rows < 8:
        return
    yield Finding(
        "positives-less-similar",
        "error" if seen.one_tower else "warning",
        f"at the start a positive is more similar than a negative in {seen.ranking:.0%} of cases "
        f"(mean similarity {seen.start.get('positive', float('nan')):.3f}), where chance is 50%",
        "What is called positive is what the network finds most different: labels, pairs or signs are likely the wrong "
        "way round, and training must first undo what the encoder sees.",
        "what makes the pairs: the data set's order, the target, or an augmentation that inverts",
    )
