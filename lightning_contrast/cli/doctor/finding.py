"""What a check says."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        name: stable, in words with hyphens; what scripts look for.
        severity: ``error``: the run would be wasted. ``warning``: it would be worse than it need be. ``note``: a figure.
        evidence: what was measured, with numbers.
        why: why it matters.
        change: the setting to change, as typed on the command line where there is one; empty for notes.
    """

    name: str
    severity: Severity
    evidence: str
    why: str
    change: str = ""

    def as_dict(self) -> dict[str, str]:
        """For ``--json``."""
        return asdict(self)
