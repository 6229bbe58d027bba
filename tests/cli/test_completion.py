"""The script is run by a real bash."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_contrast.cli.completion import ZSH, script
from lightning_contrast.cli.main import COMMANDS
from lightning_contrast.cli.recipes import methods

bash = shutil.which("bash")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("completion") / "lightning-contrast.sh"
    path.write_text(script("bash"))
    return str(path)


@pytest.mark.skipif(bash is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("lightning-contrast ''", set(COMMANDS)),
        ("lightning-contrast doc", {"doctor"}),
        ("lightning-contrast fit --config moco", {"moco-v2", "moco-v3", "moco-dual-hnf"}),
        ("lightning-contrast fit --model.enc", {"--model.encoder"}),
        ("lightning-contrast doctor --fail", {"--fail-on"}),
        ("lightning-contrast doctor --trainer.max_e", {"--trainer.max_epochs"}),
        ("lightning-contrast fit --model.encoder Small", {"SmallCNN", "SmallResNet"}),
        ("lightning-contrast fit --model.objective Sup", {"SupCon", "SupreMix", "SupportSet"}),
        ("lightning-contrast methods --k", {"--kind"}),
        ("lightning-contrast completion ''", {"bash", "zsh"}),
        ("lightning-contrast evaluate --split ''", {"test", "val"}),
        ("lightning-contrast embed --split t", {"train", "test"}),
        ("lightning-contrast doctor --fail-on w", {"warning"}),
    ],
)
def test_words(written, line, some):
    ask = f'source {written}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); _lightning_contrast; printf "%s\\n" "${{COMPREPLY[@]}}"'
    found = set(subprocess.run([str(bash), "-c", ask], capture_output=True, text=True, check=True).stdout.split())
    assert found >= some if "Sup" not in line else found & some
    word = line.split()[-1].strip("'")
    assert all(one.startswith(word) for one in found)


def test_recipes_are_all_there(written):
    text = Path(written).read_text()
    assert all(method.slug in text for method in methods() if method.recipe)


def test_usage_names_the_program(monkeypatch, capsys):
    """Also that of classes, which another library makes."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py", "fit", "--model.encoder.help", "SmallCNN"])
    with pytest.raises(SystemExit):
        runpy.run_module("lightning_contrast", run_name="__main__")
    told = capsys.readouterr().out
    assert "usage: lightning-contrast" in told
    assert "__main__" not in told


zsh = shutil.which("zsh")


@pytest.mark.skipif(zsh is None, reason="there is no zsh here")
def test_a_plain_zsh_completes_as_bash_does(written, tmp_path):
    """Only the head differs; a zsh without any settings reads it, and the key Tab calls our function."""
    path = tmp_path / "lightning-contrast.zsh"
    path.write_text(ZSH + Path(written).read_text())
    ask = f'source {path}; print -r -- "$_comps[lightning-contrast]"; compgen -F _lightning_contrast'
    found = subprocess.run([str(zsh), "-f", "-c", ask], capture_output=True, text=True, env={"HOME": str(tmp_path)})
    assert "_bash_complete" in found.stdout
    assert "command not found" not in found.stderr
