"""Every command, YAML and Python block of the README and the pages is run, page by page and in order."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_contrast.cli.evidence.study import read_study
from lightning_contrast.cli.main import main
from tests.docs.commands import FEW, importable, lines_of, run
from tests.docs.pages import ROOT, Block, blocks, pages

# What a reader is warned of, such as a folder without validation data, does not end their command.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")

SHOWN = {"text", "mermaid", "console", "toml"}  # nothing to run by itself
OWN_TEST = {"docs/add_a_method.md"}  # test_add_a_method.py
KNOWN = {"docs/architecture.md": "from lightning_contrast.objectives import Objective"}  # sketches, not programs
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("path", [p for p in pages() if str(p.relative_to(ROOT)) not in OWN_TEST], ids=lambda p: p.stem)
def test_page(path: Path, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(KNOWN.get(str(path.relative_to(ROOT)), ""), names)
    for block in blocks(path):
        if block.not_run or (block.needs and not importable(block.needs)):
            continue
        try:
            perform(block, names, capsys)
        except Exception as error:
            pytest.fail(f"the {block.language} block at {block}: {type(error).__name__}: {error}")


def perform(block: Block, names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Save the block when its title is a file, then run it."""
    if block.title and "." in block.title:
        Path(block.title).parent.mkdir(parents=True, exist_ok=True)
        Path(block.title).write_text(block.text + "\n", encoding="utf-8")
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), names)
    elif block.language == "pycon":
        _doctest(block, names)
    elif block.language == "bash":
        for words in lines_of(block.text):
            assert run(words) == 0, f"{words}: {capsys.readouterr().err[-2000:]}"
    elif block.language == "console":
        _console(block, capsys)
    elif block.language == "yaml":
        _yaml(block)
    else:
        assert block.language in SHOWN, f"{block}: no way to run {block.language!r}"


def _doctest(block: Block, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text + "\n", names, str(block), block.page, block.line)
    told: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=told.append, clear_globs=False)
    names.update(test.globs)
    assert not told, "".join(told)


def _console(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """``$ command``, then lines that it prints, in order; ``...`` stands for what is left out."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        capsys.readouterr()
        (words,) = lines_of(command)
        code = run(words)
        found = capsys.readouterr()
        assert (code != 0) == shown.startswith("error:"), f"{command}: {code} {found.err}"
        told = " ".join((found.out + found.err).split())
        wanted = [re.escape(" ".join(piece.split())) for piece in re.split(r"\.\.\.(?:\s|$)", shown) if piece.strip()]
        assert re.search(".*".join(wanted), told), f"{command} printed\n{told}\nnot\n{shown}"


def _yaml(block: Block) -> None:
    """A file is good if the command line takes it; a piece is laid over a recipe and trained."""
    held = yaml.safe_load(block.text)
    path = Path(block.title or "piece.yaml")
    path.write_text(block.text + "\n", encoding="utf-8")
    if "rows" in held:  # a study; how its rows train is tests/cli/test_studies.py's
        study = read_study(str(path))
        assert all(study.job(row, 0, study.seconds, None, ()).settings() for row in study.rows)
        return
    whole = "encoder" in str(held.get("model")) and "data" in held
    base = [] if whole else ["--config=simclr", "--data.batch_size=16", "--data.val_size=32"]
    assert main(["fit", *base, f"--config={path}", *FEW]) == 0


def test_few_blocks_are_not_run() -> None:
    held = [block for path in pages() for block in blocks(path)]
    excused = [block for block in held if block.not_run]
    assert len(excused) <= 0.05 * len(held), [str(block) for block in excused]
    assert all(len(block.not_run or "") > 10 for block in excused)
