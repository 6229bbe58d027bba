"""A torchvision built for another torch takes ``import lightning`` with it: one sentence, whatever is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("first", ["callbacks", "ContrastiveModule"])
def test_one_sentence(first: str, tmp_path: Path) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    program = f"from lightning_contrast import {first}"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "pip uninstall torchvision" in done.stderr.splitlines()[-1]
    assert str(package) not in done.stderr  # no line of torchvision's own traceback
    assert len(done.stderr.splitlines()) < 20


def test_the_hall_needs_no_lightning(tmp_path: Path) -> None:
    (tmp_path / "lightning.py").write_text("raise RuntimeError('not needed')")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    program = "import lightning_contrast.objectives, sys; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=True)
