"""``export``: files that embed as the checkpoint does, and nothing where they do not."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_contrast.cli import export
from lightning_contrast.cli.evaluate import opened
from lightning_contrast.cli.runs import LAST


def test_weights_open_elsewhere(shell, digits_run, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    from safetensors.torch import load_file

    out = tmp_path / "deep" / "encoder.safetensors"
    told = json.loads(shell("export", "--ckpt_path", str(digits_run), "--out", str(out), "--json"))
    assert told["difference"] == 0
    assert told["encoder"]["init_args"]["widths"] == [4, 8]
    cli = opened(digits_run / LAST, [])
    mine, again = cli.model.encoder.eval(), opened(digits_run / LAST, [], data=False).model.encoder.eval()
    for value in again.parameters():
        value.data.fill_(7)
    again.load_state_dict(load_file(out))
    x = (
        torch.randn(3, 1, 28, 28)
        if told["encoder"] is None
        else next(iter(cli.datamodule.predict_dataloader()))["input"][:3]
    )
    assert torch.equal(mine(x), again(x))
    with safetensors.safe_open(out, "pt") as file:
        held = {key: json.loads(value) for key, value in file.metadata().items()}
    assert held["inputs"] == {"mean": [pytest.approx(cli.datamodule.normalize.mean.item())],
                              "std": [pytest.approx(cli.datamodule.normalize.std.item())]}  # fmt: skip
    assert held["space"] == "feature"
    shell("export", "--ckpt_path", str(digits_run), "--out", str(out), "--head")
    names = set(load_file(out))
    assert {name.partition(".")[0] for name in names} == {"encoder", "head"}
    assert len(list(out.parent.iterdir())) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnx_embeds_as_the_checkpoint_does(shell, digits_run, package_run, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def session(name):
        return onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])

    shell("export", "--ckpt_path", str(package_run), "--out", str(tmp_path / "text.onnx"), "--normalize")
    cli = opened(package_run / LAST, [])
    words = cli.datamodule.query_inputs(["chess editor for everybody", "mail", "", "a map"])
    (found,) = session("text.onnx").run(None, {"input": words.numpy()})
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(cli.model.eval().embed(words), dim=1)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    shell("export", "--ckpt_path", str(digits_run), "--out", str(tmp_path / "image.onnx"), "--head")
    cli = opened(digits_run / LAST, [])
    x = next(iter(cli.datamodule.predict_dataloader()))["input"][:7]
    (found,) = session("image.onnx").run(None, {"input": x.numpy()})
    with torch.no_grad():
        wanted = cli.model.eval().project(x)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5 * wanted.abs().max().item())
    assert session("image.onnx").get_modelmeta().custom_metadata_map["space"] == '"embedding"'


def test_what_does_not_load_back_equal_is_not_put_in_place(shell, digits_run, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    out = tmp_path / "e.safetensors"
    common = ("export", "--ckpt_path", str(digits_run), "--out")
    out.write_text("the file before")
    monkeypatch.setattr(export, "largest_difference", lambda found, wanted: 2e-5)
    assert "differ by 2e-05" in shell.fails(*common, str(out))
    assert out.read_text() == "the file before"
    assert [p.name for p in tmp_path.iterdir()] == [out.name]
    assert "must end in .safetensors or .onnx" in shell.fails(*common, str(tmp_path / "e.pt"))


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder in which not even root may write")
def test_a_folder_that_cannot_be_written_is_no_bug_of_the_writer(shell, digits_run):
    pytest.importorskip("safetensors")
    told = shell.fails("export", "--ckpt_path", str(digits_run), "--out", "/proc/self/e.safetensors", code=1)
    assert "/proc/self/.e." in told


def test_differences_are_shares_of_the_largest_number():
    one = torch.tensor([[100.0, 0.0]])
    assert export.largest_difference(one + torch.tensor([[0.0, 1.0]]), one) == pytest.approx(0.01)
    assert export.largest_difference(one * torch.nan, one) == float("inf")
    assert export.largest_difference(one[:, :1], one) == float("inf")


def test_packages_that_are_not_there(shell, digits_run, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for end in ("onnx", "safetensors"):
        said = shell.fails("export", "--ckpt_path", str(digits_run), "--out", str(tmp_path / f"e.{end}"))
        assert 'pip install "lightning-contrast[export]"' in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_mapping_goes_in_by_its_keys(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    class Masked(torch.nn.Module):
        def forward(self, x):
            return (x["values"] * x["mask"][..., None]).sum(1)

    inputs = {"values": torch.randn(4, 3, 2), "mask": torch.tensor([[1, 1, 0]]).expand(4, 3)}
    assert export.to_onnx(Masked(), inputs, tmp_path / "m.onnx", {}) <= 1e-6
