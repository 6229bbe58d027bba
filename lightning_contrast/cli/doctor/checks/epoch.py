"""How many steps has an epoch?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation


def check(seen: Observation) -> Iterator[Finding]:
    """``batch-is-the-data``."""
    batches, rows, samples = seen.trainer.num_training_batches, seen.rows, seen.samples
    if not rows or not samples or batches > 1 or rows < 0.5 * samples:
        return
    yield Finding(
        "batch-is-the-data",
        "warning",
        f"an epoch is {batches} batch of {rows} rows out of {samples} samples",
        "Every step sees the same negatives, and schedules that count epochs count steps.",
        "a smaller --data.batch_size, or more data",
    )
