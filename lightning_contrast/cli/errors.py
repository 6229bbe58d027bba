"""What a person is told when something is wrong: one message, no traceback."""

import errno
import os
import sys
import traceback
from types import TracebackType

from lightning_contrast.broken_torchvision import torchvision_failed

DEBUG = "LIGHTNING_CONTRAST_DEBUG"
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)


class UserError(Exception):
    """A message for whoever typed the command: what is wrong, and what to do."""


def nearest(name: str, known: list[str], count: int = 3) -> str:
    """``"; nearest: a, b"``, or nothing when nothing is near."""
    import difflib

    lowered: dict[str, str] = {}
    for one in known:
        lowered.setdefault(one.lower(), one)
    found = difflib.get_close_matches(name.lower(), list(lowered), n=count, cutoff=0.5)
    return f"; nearest: {', '.join(lowered[one] for one in found)}" if found else ""


def report(error: BaseException) -> int:
    """Print what went wrong to stderr; the exit code.

    A message raised on purpose by this library or by Lightning is printed alone; anything else is somebody's bug and
    keeps its traceback, as everything does when ``LIGHTNING_CONTRAST_DEBUG`` is set.
    """
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not os.environ.get(DEBUG) and (told := torchvision_failed(error)):
        print(f"error: {told}", file=sys.stderr)
        return 1
    on_purpose = isinstance(error, (UserError, OSError)) or _raised_in(error.__traceback__) in (
        "lightning_contrast",
        "lightning",
    )
    if os.environ.get(DEBUG) or not on_purpose:
        traceback.print_exception(error)
        return 1
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if isinstance(error, OSError) and error.filename and error.errno in NOT_ALLOWED:
        text = (
            f"{error.filename}: {os.strerror(error.errno)}. If it was to be written, give a folder in which you may: "
            "--out, --output, or --trainer.default_root_dir."
        )
    print(f"error: {text or type(error).__name__}", file=sys.stderr)
    print(f"(set {DEBUG}=1 for the traceback)", file=sys.stderr)
    return 2 if isinstance(error, UserError) else 1


def own_error(error: BaseException) -> BaseException:
    """What a constructor raised, below the parser's reports about it."""
    below: BaseException | None = error
    while below is not None and _raised_in(below.__traceback__) == "jsonargparse":
        below = below.__cause__ or below.__context__
    return below or error


def _raised_in(trace: TracebackType | None) -> str:
    """Top package of the innermost frame."""
    module = ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    return module.partition(".")[0]
