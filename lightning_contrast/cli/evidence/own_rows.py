"""Rows of a study in which every recipe on texts trains on its own data."""

import inspect
from collections.abc import Iterable
from typing import Any

import lightning_contrast.data
from lightning_contrast.cli.arguments import read_arguments
from lightning_contrast.cli.evidence.job import on_texts, part_name
from lightning_contrast.cli.recipes import methods

SUBSET = 2000
"""Texts or pairs at most."""


def own_rows(listed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row each recipe on texts, by name; of large data a part; those that are listed say more."""
    said = {row["name"]: row for row in listed}
    slugs = sorted(method.slug for method in methods() if method.recipe and on_texts(method.slug))
    found = {slug: {"name": slug, "base": slug, **_smaller(slug), **said.get(slug, {})} for slug in slugs}
    return [*found.values(), *(row for name, row in said.items() if name not in found)]


def _smaller(slug: str) -> dict[str, Any]:
    data = read_arguments([f"--config={slug}"]).config["data"]
    kind = getattr(lightning_contrast.data, part_name(data))
    if "subset" not in inspect.signature(kind.__init__).parameters:
        return {}
    own = data.get("init_args", {}).get("subset") if isinstance(data, dict) else None
    return {"data": {"subset": min(SUBSET, own or SUBSET)}}
