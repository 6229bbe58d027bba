"""``lightning-contrast methods``: what is shipped."""

import json

from lightning_contrast.cli.command_parser import CommandParser
from lightning_contrast.cli.recipes import methods

COLUMNS = (("slug", "cyan"), ("title", ""), ("kind", ""), ("sure", ""), ("verified", "dim"))
NARROW = 110  # a terminal of fewer columns would break words to hold them all
FOR_FILES = 1000  # a file or a pipe has no width of its own: a method is a line, which grep finds


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

    console = Console()
    if not console.is_terminal:
        console = Console(width=FOR_FILES)
    told = COLUMNS if console.width >= NARROW else COLUMNS[:-1]
    table = Table(title=f"{len(found)} methods", title_justify="left", header_style="bold")
    for name, style in told:
        table.add_column(name, style=style, overflow="fold", no_wrap=name == "slug")
    for m in found:
        table.add_row(*(m.slug, m.title, m.kind, m.sure, ", ".join(m.verified))[: len(told)])
    console.print(table)
    console.print("Run one:  lightning-contrast fit --config SLUG", highlight=False)
    return 0
