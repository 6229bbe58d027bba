"""The shipped recipes: one YAML a published method, described by the comments at its head.

The head is the only record of a method, so a new method is one source file, one line in a test and one YAML::

    # title: SimCLR
    # kind: objective
    # component: lightning_contrast.objectives.InfoNCE
    # sure: high
    # verified: worked numbers, double loop, processes

Below it stand the settings, over those of the recipe named by ``base:``, if any; ``--print_config`` shows the whole.
A file with a head and nothing below it describes a component that has no training of its own, such as a metric.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from lightning_contrast.cli.errors import UserError, nearest

FOLDER = Path(__file__).resolve().parent.parent / "recipes"
_FIELDS = ("title", "kind", "component", "sure", "verified")


@dataclass(frozen=True)
class Method:
    """A shipped method.

    Args:
        slug: its short name; ``--config <slug>`` where it has a recipe.
        title: of the paper.
        kind: the extension point it exercises first: objective, memory, negatives, ...
        recipe: what to pass to ``--config``, or None.
        component: import path of its main part, or None.
        sure: high, medium or low: how sure we are that this is the paper's method; low is a reconstruction.
        verified: what proves it.
    """

    slug: str
    title: str
    kind: str
    recipe: str | None
    component: str | None
    sure: str
    verified: list[str]

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return asdict(self)


def methods(folder: Path = FOLDER) -> list[Method]:
    """All shipped methods, by kind and slug.

    Raises:
        ValueError: for a recipe whose head lacks a line.
    """
    return sorted((_read(path) for path in folder.glob("*.yaml")), key=lambda m: (m.kind, m.slug))


def _read(path: Path) -> Method:
    head: dict[str, str] = {}
    body = False
    for line in path.read_text(encoding="utf-8").splitlines():
        key, colon, value = line.lstrip("# ").partition(":")
        if line.startswith("#") and not body:
            if colon and key in _FIELDS:
                head.setdefault(key, value.strip())  # below them, prose may begin a line with such a word
        elif line.strip() and not line.lstrip().startswith("#"):
            body = True
    absent = [key for key in _FIELDS if key not in head and key != "component"]
    if absent:
        raise ValueError(f"{path}: its head lacks {', '.join(f'# {key}:' for key in absent)}")
    return Method(
        slug=path.stem,
        title=head["title"],
        kind=head["kind"],
        recipe=path.stem if body else None,
        component=head.get("component"),
        sure=head["sure"],
        verified=[part.strip() for part in head["verified"].split(",") if part.strip()],
    )


def config_path(value: str) -> str:
    """The file behind ``--config``: a path as it is, or the YAML of a shipped recipe.

    Raises:
        UserError: if there is neither, with the nearest names.
    """
    if Path(value).is_file():
        return value
    if Path(value).suffix in (".yaml", ".yml", ".json") or "/" in value or "\\" in value:
        raise UserError(f"--config {value}: there is no such file.")
    path = FOLDER / f"{value}.yaml"
    if not path.is_file():
        known = [method.slug for method in methods() if method.recipe]
        raise UserError(
            f"--config {value}: neither a file nor a shipped recipe{nearest(value, known)}. "
            "`lightning-contrast methods` lists all."
        )
    found = _read(path)
    if found.recipe is None:
        raise UserError(
            f"--config {value}: this method is a component without a training of its own; import {found.component}."
        )
    return str(path)
