"""Embeddings that are not finite: every command names the samples that they are of, and leaves nothing behind."""

import pytest
import torch

from lightning_contrast.cli.runs import LAST


@pytest.fixture(scope="module")
def broken(package_run, tmp_path_factory):
    """The run with one word's vector gone wrong, as in a diverged training."""
    folder = tmp_path_factory.mktemp("broken")
    held = torch.load(package_run / LAST, weights_only=True)
    (name,) = [name for name, value in held["state_dict"].items() if value.dim() == 2 and value.shape[0] == 999]
    held["state_dict"][name][5:60] = torch.nan
    (folder / LAST).parent.mkdir(parents=True, exist_ok=True)
    torch.save(held, folder / LAST)
    (folder / "config.yaml").write_text((package_run / "config.yaml").read_text())
    return folder / LAST


@pytest.mark.parametrize(
    ("command", "out", "words"),
    [
        ("embed", "e.npz", "embeddings are not finite (index"),
        ("mine", "m.npz", "embeddings are not finite (index"),
        ("evaluate", None, "embeddings are not finite (index"),
        ("search", None, "embeddings are not finite (index"),
        ("export", "e.onnx", "not finite"),
    ],
)
def test_named_and_nothing_is_written(shell, broken, tmp_path, command, out, words):
    if command == "export":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    before = sorted(broken.parent.rglob("*"))
    more = ["--out", str(tmp_path / out)] if out else ["--query", "mail"] if command == "search" else []
    shell(command, "--ckpt_path", str(broken), *more, code=2 if command == "export" else 1)
    assert words in shell.err
    assert "Traceback" not in shell.err
    assert not list(tmp_path.iterdir())
    assert sorted(broken.parent.rglob("*")) == before
