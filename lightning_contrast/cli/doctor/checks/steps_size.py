"""Are the optimizer's steps of a size that learns?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = (
    "dead-gradient", "exploding-gradient", "embeddings-alike", "no-negatives", "negatives-excluded", "ids-repeat", "fails",
    "anchors-left-out",
)  # fmt: skip
LARGE, SMALL = 0.3, 1e-7


def check(seen: Observation) -> Iterator[Finding]:
    """``steps-too-large``, ``steps-too-small``."""
    moved = [step.moved for step in seen.steps if step.moved]
    parts = moved[0] if moved else {}  # of the weights as they were initialised
    large = {part: share for part, share in parts.items() if share > LARGE}
    if large:
        told = ", ".join(f"{part} {share:.0%}" for part, share in large.items())
        yield Finding(
            "steps-too-large",
            "error",
            f"a first step at the full learning rate changes weights by this share of themselves: {told} (0.1% to 3% are "
            "usual at the start)",
            "Embeddings jump from step to step; collapse is the usual end.",
            "a lower --model.optimizer.lr, with WarmupCosine as --model.lr_scheduler",
        )
    elif parts and max(max(step.values()) for step in moved) < SMALL:
        yield Finding(
            "steps-too-small",
            "error",
            f"a step changes weights by {max(parts.values()):.1g} of themselves",
            "Nothing is learned in any number of epochs.",
            "a higher --model.optimizer.lr (1e-3 is usual with AdamW)",
        )
