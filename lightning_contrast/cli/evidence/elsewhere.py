"""Recipes that train on other data than the methods of the table: which study has them, or why none has."""

from functools import cache
from pathlib import Path

from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.evidence.job import FEWER, makes_features, on_shared_data, part_name
from lightning_contrast.cli.evidence.study import read_study, studies
from lightning_contrast.cli.recipes import methods


@cache
def elsewhere() -> dict[str, str]:
    """A line in Markdown for each such recipe, by slug."""
    found = in_studies()
    recipes = (method.slug for method in methods() if method.recipe)
    slugs = sorted(slug for slug in recipes if not (on_shared_data(slug) and makes_features(slug)))
    return {slug: _named(found[slug]) if slug in found else _reason(slug) for slug in slugs}


def in_studies() -> dict[str, list[str]]:
    """The shipped studies that have rows of a recipe, by its slug."""
    out: dict[str, list[str]] = {}
    for name in studies():
        for slug in sorted({Path(row.configs[0]).stem for row in read_study(name).rows}):
            out.setdefault(slug, []).append(name)
    return out


def _named(names: list[str]) -> str:
    return ("in the study " if len(names) == 1 else "in the studies ") + ", ".join(f"`{name}`" for name in names)


def _reason(slug: str) -> str:
    if on_shared_data(slug):
        return "its encoder makes pictures, not features: no score of the table can be taken of it"
    data = read_arguments([f"--config={slug}"]).config["data"]
    parts = sorted(FEWER & data.get("init_args", {}).keys()) if isinstance(data, dict) else []
    part = f", a part of it (`{'`, `'.join(parts)}`)" if parts else ""
    return f"in no study; it trains on `{part_name(data)}`{part}, where no other method here does: nothing to compare"
