"""How large a batch fits?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

TIGHT = 0.9
UNLESS = ("out-of-memory",)


def check(seen: Observation) -> Iterator[Finding]:
    """The note ``memory``, ``batch-does-not-fit``."""
    found = seen.memory
    if found is None:
        if seen.unmeasured:
            why = "It is measured on steps without callbacks, whole and in chunks, and one of these cannot be made."
            yield Finding("memory", "note", f"not measured: {seen.unmeasured}", why)
        return
    sizes = [found.rows * 4**power for power in range(3)]
    table = "; ".join(
        f"{rows} rows {_mb(found.needed(rows, False))}, in chunks {_mb(found.needed(rows, True))}" for rows in sizes
    )
    free = f"{_mb(found.free)} are free"
    yield Finding(
        "memory",
        "note",
        f"a step of {table}. {free}: by extrapolation about {_rough(found.largest(False))} rows fit without "
        f"gradient caching, about {_rough(found.largest(True))} with chunks of {found.chunk}",
        "More rows are more negatives; chunks cost a second forward pass.",
    )
    needed = found.needed(found.rows, found.cached)
    if needed > TIGHT * found.free:
        yield Finding(
            "batch-does-not-fit",
            "error" if needed > found.free else "warning",
            f"a step of {found.rows} rows takes {_mb(needed)}, {free}",
            "Training would end for want of memory.",
            "a smaller --data.batch_size" + ("" if found.cached else f", or --model.chunk_size {found.chunk}"),
        )


def _rough(rows: int) -> str:
    """Two digits, rounded down: more is not known."""
    step = 10 ** max(0, len(str(rows)) - 2)
    return f"{rows // step * step:,}"


def _mb(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB" if size < 2**34 else f"{size / 2**30:,.0f} GiB"
