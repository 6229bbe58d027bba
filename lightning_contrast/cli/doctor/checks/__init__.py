"""The checks, one a file: a function ``check(seen)`` that yields findings.

Every file of this folder is a check. Add one by adding a file; ``UNLESS`` names findings that would explain its own, which
is then left out.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable

from lightning_contrast.cli.doctor.finding import ORDER, Finding
from lightning_contrast.cli.doctor.observation import Observation


def check_names() -> list[str]:
    """The files of this folder."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def findings_of(seen: Observation) -> list[Finding]:
    """What all checks say, the worst first."""
    found: list[tuple[Finding, tuple[str, ...]]] = []
    for name in check_names():
        module = importlib.import_module(f"{__name__}.{name}")
        found += [(finding, getattr(module, "UNLESS", ())) for finding in _told(name, module.check, seen)]
    told = {finding.name for finding, _ in found}
    kept = [finding for finding, unless in found if not told & set(unless)]
    return sorted(kept, key=lambda finding: ORDER.index(finding.severity))


def _told(name: str, check: Callable[[Observation], Iterable[Finding]], seen: Observation) -> list[Finding]:
    try:
        return list(check(seen))
    except Exception as error:  # data of any kind: one check that cannot read them must not take the others with it
        evidence = f"the check {name} could not read these data: {type(error).__name__}: {error}"
        return [Finding("not-checked", "note", evidence, "The other checks were made.")]
