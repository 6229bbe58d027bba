"""How fast is it, and where does the time go?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.clock import VIEWS, WAITING
from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation


def check(seen: Observation) -> Iterator[Finding]:
    """The note ``throughput``, ``data-is-slow``."""
    whole = sum(seen.seconds.values())
    if not whole:
        return
    told = ", ".join(f"{name} {part / whole:.0%}" for name, part in seen.seconds.items() if part / whole >= 0.005)
    yield Finding(
        "throughput",
        "note",
        f"{seen.rows / whole:.0f} samples a second, {whole * 1000:.0f} ms a step of {seen.rows}: {told}",
        "What takes most is what is worth making faster.",
    )
    waiting, views = seen.seconds[WAITING] / whole, seen.seconds[VIEWS] / whole
    if waiting > 0.5:
        yield Finding(
            "data-is-slow",
            "warning",
            f"{waiting:.0%} of a step is waiting for the next batch",
            "The device idles while samples are read.",
            "more --data.num_workers, smaller files, or data kept in memory",
        )
    elif views > 0.6:
        yield Finding(
            "views-are-slow",
            "warning",
            f"{views:.0%} of a step is making views",
            "The encoder waits for the augmentation.",
            "a cheaper --data.augmentation (blur and colour cost most), or fewer --data.n_views",
        )
