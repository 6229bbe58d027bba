"""Help that ends with something to type."""

import argparse
from collections.abc import Sequence
from typing import Any

from lightning_contrast.cli.errors import UserError, nearest

OF_FIT = (
    "config", "seed_everything", "trainer", "model", "data", "name", "last_checkpoint", "ckpt_path", "record", "print_config",
)  # fmt: skip
"""First words of the options that `fit` takes, and other commands for it."""


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` of one of our commands.

    Args:
        command: its name.
        examples: what follows ``lightning-contrast``, each a whole line to copy.
    """

    def __init__(self, command: str, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(prog=f"lightning-contrast {command}", **kwargs)
        self.examples = examples

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As usual, but an option that neither this command nor `fit` knows is named first.

        Else a mistyped one is heard of after the data were read, or as the one that is missing in its place.

        Raises:
            UserError: for such an option.
        """
        known = [option[2:] for option in self._option_string_actions if option.startswith("--")]
        for word in args or ():
            name = word[2:].partition("=")[0]
            if not word.startswith("--") or not name or name.partition(".")[0].rstrip("+") in OF_FIT or name in known:
                continue
            if not (self.allow_abbrev and any(option.startswith(name) for option in known)):
                near = nearest(name.partition(".")[0], [*known, *OF_FIT])
                raise UserError(f"there is no option --{name}{near}. {self.prog} --help lists all.")
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """As usual, and the examples."""
        lines = "".join(f"  lightning-contrast {line}\n" for line in self.examples)
        return f"{super().format_help()}\nexamples:\n{lines}"
