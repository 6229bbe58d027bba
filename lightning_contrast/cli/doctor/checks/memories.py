"""Do memories hold more than there is to remember?"""

from collections.abc import Iterator

from lightning_contrast.callbacks import MemoryQueue
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation


def check(seen: Observation) -> Iterator[Finding]:
    """``queue-larger-than-data``."""
    samples = seen.samples
    if samples is None:
        return
    for queue in (c for c in seen.trainer.callbacks if isinstance(c, MemoryQueue)):
        if queue.size > samples:
            yield Finding(
                "queue-larger-than-data",
                "warning" if queue.size < 2 * samples else "error",
                f"MemoryQueue(size={queue.size}) over {samples} training samples",
                "It holds the same samples several times, by encoders of several epochs ago: stale copies, and the "
                "anchor's own ones are masked.",
                f"MemoryQueue's size: a small part of the data, such as {max(1, samples // 8)}",
            )
