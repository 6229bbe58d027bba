"""Command lines of the pages, run in this process for a few steps."""

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from lightning_contrast.cli.main import main
from tests.docs.pages import ROOT

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
FEW = ["--trainer.max_steps=2", "--trainer.limit_val_batches=1", "--trainer.limit_test_batches=1", *QUIET]


def lines_of(text: str) -> list[list[str]]:
    """Commands as lists of words; comments dropped, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [words for words in (shlex.split(line, comments=True) for line in joined.splitlines()) if words]


def expanded(words: list[str]) -> list[str]:
    """As a shell expands ``*``."""
    return [path for word in words for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def processes(words: list[str]) -> int:
    """How many processes a command trains on."""
    given = [b if a == "--trainer.devices" else a.partition("=")[2] for a, b in zip(words, [*words[1:], ""], strict=True)
             if a.partition("=")[0] == "--trainer.devices"]  # fmt: skip
    return int(given[0]) if given else 1


def shortened(words: list[str]) -> list[str]:
    """The arguments of ``lightning-contrast``, for a few steps and small batches where that is needed."""
    command, *rest = words
    asks = {"--help", "--print_config"} & set(rest)
    if command == "fit" and not asks:
        small = [] if "--data.batch_size" in rest else ["--data.batch_size=16"]
        small += [] if {"--data", "package-search", "text-search"} & set(rest) else ["--data.val_size=32"]
        with_data = "--config" in rest or "--data" in rest
        if processes(words) > 1:
            return [*words, "--print_config"]  # test_commands.py starts the processes
        return [*words, *(small if with_data else []), *FEW]
    if command in ("validate", "test", "predict") and not asks:
        small = [] if "--data" in rest or any("/" in word for word in rest) else ["--data.val_size=32"]
        return [*words, *small, *QUIET, *(["--trainer.limit_predict_batches=2"] if command == "predict" else FEW[1:3])]
    if command == "doctor" and "--steps" not in rest:
        return [*words, "--steps=2", "--data=DigitsDataModule", "--data.image_size=14", "--data.batch_size=64"]
    if command == "demo":
        return [*words, "--epochs=1", "--data.batch_size=16", "--data.val_size=32", *FEW]
    return words


def run(words: list[str]) -> int:
    """Run or check one command; its exit code."""
    match expanded(words):
        case ["lightning-contrast", *rest] | ["python", "-m", "lightning_contrast", *rest]:
            return main(shortened(rest) if rest else rest)
        case ["python", script, *rest] if script.endswith(".py"):
            file = Path(script) if Path(script).is_file() else ROOT / script
            before, sys.argv = sys.argv, [script, *rest]
            try:
                runpy.run_path(str(file), run_name="__main__")
            finally:
                sys.argv = before
            return 0
        case ["make", target]:
            assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
            return 0
        case ["pip", "install", *rest] | ["python", "-m", "pip", "install", *rest]:
            _check_extras(rest)
            return 0
        case ["git", "clone", *_] | ["cd", _] | ["python3", "-m", "venv", _] | ["source", _]:
            return 0  # set-up of a fresh machine
        case ["cat", name]:
            print(Path(name).read_text())
            return 0
    return pytest.fail(f"no way to run {shlex.join(words)!r}: teach tests/docs/commands.py, or mark the block")


def _check_extras(words: list[str]) -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        for one in extra.split(","):
            assert re.search(rf"^{one} = \[", declared, re.MULTILINE), f"no extra {one!r} in pyproject.toml"


def importable(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None
