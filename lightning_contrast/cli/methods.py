"""``lightning-contrast methods``: what is shipped."""

import json

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.recipes import methods


def main(args: list[str]) -> int:
    """List the shipped methods as a table, or as JSON."""
    parser = CommandParser(
        "methods",
        examples=(
            "methods",
            "methods --kind memory --json",
        ),
        description="List the shipped methods. `sure` says how sure it is that this is the paper's method (low: a "
        "reconstruction), `verified` what proves it.",
    )
    parser.add_argument("--json", action="store_true", help="a list of objects instead of a table")
    parser.add_argument("--kind", help="only this kind")
    options = parser.parse_args(args)
    found = [m for m in methods() if options.kind in (None, m.kind)]
    if options.json:
        print(json.dumps([m.as_dict() for m in found], indent=2, ensure_ascii=False))
        return 0

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(found)} methods", title_justify="left", header_style="bold")
    for name, style in (("slug", "cyan"), ("title", ""), ("kind", ""), ("sure", ""), ("verified", "dim")):
        table.add_column(name, style=style, overflow="fold", no_wrap=name == "slug")
    for m in found:
        table.add_row(m.slug, m.title, m.kind, m.sure, ", ".join(m.verified))
    console = Console()
    console.print(table)
    console.print("Run one:  lightning-contrast fit --config SLUG", highlight=False)
    return 0
