"""Lightning without its advertisements and without advice that does not apply here."""

import logging
import os
import sys
import warnings

_WORDS = (
    "litlogger",
    "litmodels",
    "LitLogger",
    "TPU available",
    "GPU available",
    "`weights_only` was not set",
    "to estimate number of stepping batches",
)
_WARNINGS = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*LeafSpec.*",
    ".*recommended to use `self.log\\(.val/.*sync_dist.*",  # what is scored is summed over the processes before
    ".*is not supported by the model summary.*",
)


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not any(word in record.getMessage() for word in _WORDS)


class _Stderr:
    """What ``sys.stderr`` is when a message comes: while a bar is drawn, the bar puts it above itself."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def quiet_lightning(scores: bool = True) -> None:
    """Called once by a command, before Lightning is imported: never by importing this library.

    ``scores``: whether the command says how good something is; else nobody needs to hear what flatters.
    """
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in (*_WARNINGS, *(() if scores else (".*: figures will flatter",))):
        warnings.filterwarnings("ignore", message=message)
    import lightning.pytorch  # noqa: F401 (its handlers exist from here on)

    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_Filter())
            if type(handler) is logging.StreamHandler:  # Lightning's own
                handler.setStream(_Stderr())
