"""Help that ends with something to type."""

import argparse
from collections.abc import Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` of one of our commands.

    Args:
        command: its name.
        examples: what follows ``lightning-contrast``, each a whole line to copy.
    """

    def __init__(self, command: str, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(prog=f"lightning-contrast {command}", **kwargs)
        self.examples = examples

    def format_help(self) -> str:
        """As usual, and the examples."""
        lines = "".join(f"  lightning-contrast {line}\n" for line in self.examples)
        return f"{super().format_help()}\nexamples:\n{lines}"
