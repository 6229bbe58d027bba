"""The doctor's report, for people and for programs."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lightning_contrast.cli.doctor.finding import ORDER, Finding
from lightning_contrast.cli.doctor.observation import Observation

STYLE = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


def tell(seen: Observation, findings: Sequence[Finding], seconds: float) -> None:
    """Print one paragraph a finding, the worst first, then what there was."""
    console = Console()
    console.print(about(seen), highlight=False, markup=False)
    for finding in findings:
        console.print()
        console.print(Text.assemble((finding.severity, STYLE[finding.severity]), "  ", (finding.name, "bold")))
        for name, text in (("", finding.evidence), ("why", finding.why), ("change", finding.change)):
            if text:
                line = Text.assemble((f"{name}: " if name else "", "dim"), text)
                console.print(Padding(line, (0, 0, 0, 4)))
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ORDER}
    told = ", ".join(f"{count} {severity}{'' if count == 1 else 's'}" for severity, count in counts.items())
    console.print(f"\n{told}; {seconds:.0f} seconds.", highlight=False)


def about(seen: Observation) -> str:
    """What was looked at, in a line or two."""
    source = getattr(seen.data, "source", type(seen.data).__name__)
    lines = [f"{source}: {len(seen.steps)} steps of {seen.rows} samples, {type(seen.module.objective).__name__}."]
    shown = [(name, seen.start[key]) for key, name in _SHOWN if key in seen.start]
    if shown:
        lines.append("At the start: " + ", ".join(f"{name} {value:.4g}" for name, value in shown) + ".")
    return "\n".join(lines)


_SHOWN = (
    ("loss", "loss"), ("chance", "chance level"), ("positive", "similarity of positives"),
    ("hardest_negative", "of hardest negatives"), ("temperature", "temperature"), ("negatives", "negatives an anchor"),
)  # fmt: skip


def as_json(seen: Observation, findings: Sequence[Finding], checks: Sequence[str], seconds: float) -> dict[str, Any]:
    """Findings, what was checked, and the figures; a figure that is no number is null."""
    figures: dict[str, Any] = {"start": _finite(seen.start), "end": _finite(seen.end), "seconds": _finite(seen.seconds)}
    if seen.memory is not None:
        figures["memory"] = {
            "rows": seen.memory.rows,
            "bytes": round(seen.memory.needed(seen.memory.rows, seen.memory.cached)),
            "free": seen.memory.free,
            "largest_batch": seen.memory.largest(False),
            "largest_batch_in_chunks": seen.memory.largest(True),
            "chunk_size": seen.memory.chunk,
        }
    return {
        "findings": [finding.as_dict() for finding in findings],
        "checks": list(checks),
        "figures": figures,
        "rows": seen.rows,
        "seconds_taken": round(seconds, 2),
    }


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    return {key: float(value) if math.isfinite(value) else None for key, value in figures.items()}
