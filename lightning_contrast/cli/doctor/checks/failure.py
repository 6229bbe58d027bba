"""Does it run at all?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

UNLESS = ("inputs-not-finite",)
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")


def check(seen: Observation) -> Iterator[Finding]:
    """``out-of-memory``, ``fails``."""
    if seen.failure is None:
        return
    told = f"{type(seen.failure).__name__}: {seen.failure}"
    if any(words in told.lower() for words in _NO_MEMORY):
        yield Finding(
            "out-of-memory",
            "error",
            f"{seen.reached}: {told[:300]}",
            "Training would end here.",
            "--model.chunk_size 32 encodes in chunks, with the gradient of the whole batch; or a smaller --data.batch_size",
        )
        return
    yield Finding("fails", "error", f"{seen.reached}: {told}", "Training would end here.", "what the message says")
