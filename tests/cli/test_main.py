import errno
import io
import json
import logging
import os
import subprocess
import sys
import warnings

import pytest

from lightning_contrast.cli.errors import report
from lightning_contrast.cli.main import COMMANDS, main
from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.cli.recipes import FOLDER, methods


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(f"  {name} " in told for name in COMMANDS)
    assert main([]) == 2


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lightning-contrast 0.")


@pytest.mark.parametrize(
    "args", [["--help"], ["methods"], ["methods", "--json"], ["fitt"], ["fit", "--config", "simcrl"]]
)
def test_what_needs_no_torch_does_not_import_it(args):
    code = (
        "import sys; from lightning_contrast.cli.main import main; main(sys.argv[1:]); "
        "assert not {'torch', 'lightning'} & set(sys.modules), 'imported'"
    )
    if args[0] == "fit":
        pytest.skip("parsing needs the classes")
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_classes_of_the_folder_one_is_in(tmp_path, monkeypatch, capsys):
    """A console script has its own folder on the path, not the one it was called from."""
    (tmp_path / "my_own_project.py").write_text(
        "from lightning_contrast import ContrastiveModule\n\n\nclass MyModule(ContrastiveModule):\n    pass\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "bin"), *(p for p in sys.path if p)])
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "simclr", "--model=my_own_project.MyModule", "--print_config"]) == 0
    assert "my_own_project.MyModule" in capsys.readouterr().out


def test_methods_as_json(capsys):
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"simclr", "moco-v2", "supcon"} <= {m["slug"] for m in listed}
    for m in listed:
        assert set(m) == {"slug", "title", "kind", "recipe", "component", "sure", "verified"}
        assert m["recipe"] or m["component"]
        assert m["recipe"] in (None, m["slug"])


def test_components_exist():
    import importlib

    for method in methods():
        if method.component:
            module, _, name = method.component.rpartition(".")
            assert hasattr(importlib.import_module(module), name), method


def test_methods_as_table(capsys):
    assert main(["methods", "--kind", "memory"]) == 0
    told = capsys.readouterr().out
    assert "moco-v2" in told
    assert "simclr" not in told


def test_a_method_is_a_line_in_a_file_and_keeps_its_words_on_a_narrow_terminal(capsys, monkeypatch):
    assert main(["methods", "--kind", "memory"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert len(rows) == len([m for m in methods() if m.kind == "memory"])
    assert any("moco-v2" in row and "double loop" in row for row in rows)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["methods", "--kind", "memory"]) == 0
    assert "verified" not in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written(number, capsys):
    assert report(OSError(number, os.strerror(number), "there/report.html")) == 1
    told = capsys.readouterr().err
    assert all(word in told for word in ("there/report.html", os.strerror(number), "--out", "default_root_dir"))


def test_lightnings_words_go_where_errors_go_now(monkeypatch, caplog):
    """A bar that is being drawn takes their place of ``sys.stderr``; past it they would break its lines."""
    from lightning.pytorch.utilities import rank_zero_info

    quiet_lightning()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        rank_zero_info("a word in the middle of a run")
    assert sys.stderr.getvalue().endswith("a word in the middle of a run\n")


def test_ctrl_c_has_its_exit_code_by_lightnings_way_out_too(monkeypatch):
    def stopped(command, args):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("lightning_contrast.cli.main._run", stopped)
    assert main(["fit"]) == 130


def test_scores_that_are_the_same_on_every_process_are_not_warned_of():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        quiet_lightning()
        warnings.warn("It is recommended to use `self.log('val/knn', ..., sync_dist=True)` when", stacklevel=1)
        warnings.warn("It is recommended to use `self.log('mine', ..., sync_dist=True)` when", stacklevel=1)
    assert ["mine" in str(one.message) for one in told] == [True]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["fitt"], 2, ["'fitt'", "nearest: fit"]),
        (["simclr"], 2, ["fit --config simclr"]),
        (["evaluate", "--ckpt_path", "absent.ckpt"], 2, ["absent.ckpt", "no such file"]),
        (["demo", "--epochs", "0"], 2, ["--epochs 0"]),
        (["evaluate", "--ckpt_pth", "last"], 2, ["no option --ckpt_pth", "nearest: ckpt_path"]),
        (["export", "--ckpt_path", "last", "--ouput", "x"], 2, ["no option --ouput", "nearest: out"]),
        (["doctor", "--config", "simclr", "--modl.encoder=SmallCNN"], 2, ["--modl.encoder", "nearest: model"]),
    ],
)
def test_wrong_commands(args, code, words, capsys):
    assert main(args) == code
    told = capsys.readouterr()
    assert all(word in told.err for word in words)
    assert "Traceback" not in told.err
    assert told.err.count("error:") == 1


def test_a_head_without_its_lines_is_an_error(tmp_path):
    (tmp_path / "x.yaml").write_text("# title: X\nmodel: {}\n")
    with pytest.raises(ValueError, match=r"# kind:.*# sure:.*# verified:"):
        methods(tmp_path)


def test_a_head_alone_is_a_component(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "# title: X\n# kind: diagnostic\n# component: a.B\n# sure: low\n# verified: numbers\n"
    )
    (one,) = methods(tmp_path)
    assert (one.slug, one.recipe, one.component, one.verified) == ("x", None, "a.B", ["numbers"])


def test_recipes_are_shipped():
    assert (FOLDER / "simclr.yaml").is_file()


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "from lightning_contrast import ContrastiveModule"],
        ["-m", "lightning_contrast", "fit", "--config=simclr"],
    ],
)
def test_a_torchvision_that_cannot_be_imported(command, tmp_path):
    """As a wheel for another torch: it is found, torchmetrics imports it, and it raises."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    info = tmp_path / "torchvision-0.0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.0.1\n")
    path = os.pathsep.join([str(tmp_path), str(FOLDER.parent.parent)])
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 1
    assert "torchvision::nms" in done.stderr
    assert "pip uninstall torchvision" in done.stderr
    if command[0] == "-m":
        assert "Traceback" not in done.stderr
