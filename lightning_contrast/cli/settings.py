"""The settings of a run, without the command line that read them."""

from typing import Any


class Settings:
    """What Lightning's instantiators ask a command line for: the configuration as plain values."""

    def __init__(self, config_dump: dict[str, Any]) -> None:
        self.config_dump = config_dump

    def _dump_config(self) -> None:
        pass
