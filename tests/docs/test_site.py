"""The generated pages, the links, and the site as a whole."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lightning_contrast.cli.recipes import methods
from tests.docs.commands import importable
from tests.docs.pages import ROOT, pages


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_for_every_method(generate: ModuleType) -> None:
    made = generate.pages()
    for method in methods():
        text = made[f"methods/{method.slug}.md"]
        assert method.title in text
        assert f"**{method.sure}**" in text
        for section in ("Idea", "How sure", "Evidence"):
            assert f"## {section}" in text
        if method.component and method.component.startswith("lightning_contrast."):
            assert generate.docstring(method.component), f"{method.component} has no docstring to show"
            assert "## Formula" in text
        if method.recipe:
            assert "## Defaults\n\n```yaml\nseed" in text or "```yaml\n" in text
    assert all(f"({m.slug}.md)" in made["methods/index.md"] for m in methods())


def test_what_a_method_page_says(generate: ModuleType) -> None:
    text = generate.pages()["methods/moco-v2.md"]
    assert "negatives are a queue of" in text
    assert "| callbacks | [`MemoryQueue`][lightning_contrast.callbacks.memory_queue.MemoryQueue] |" in text
    assert "| optimizer | `torch.optim.AdamW` |" in text
    assert "# title:" not in text


def test_a_reconstruction_is_called_one(generate: ModuleType, tmp_path: Path) -> None:
    recipe = "# title: T\n# kind: k\n# sure: low\n# verified: x\n#\n# Some idea.\n"
    (tmp_path / "toy.yaml").write_text(recipe)
    (method,) = methods(tmp_path)
    text = generate.method_page(method, tmp_path)
    assert "Some idea." in text
    assert "reconstruction" in text
    assert "## Defaults" not in text


def test_evidence_is_found_by_slug(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs" / "evidence").mkdir(parents=True)
    table = "# Results\n\n| method | kNN |\n|---|---|\n| [dcl](x.md) | 0.8 |\n| dclw | 0.7 |\n"
    (tmp_path / "docs" / "evidence" / "all.md").write_text(table)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    found = generate.evidence("dcl")
    assert "| dcl | 0.8 |" in found
    assert "0.7" not in found
    assert generate.evidence("d") == ""


def test_every_folder_has_a_reference_page(generate: ModuleType) -> None:
    package = ROOT / "lightning_contrast"
    folders = {p.name for p in package.iterdir() if p.is_dir() and any(generate.public(f) for f in p.glob("*.py"))}
    assert folders - {"cli"} <= set(generate.rooms())


def test_links_lead_somewhere(generate: ModuleType) -> None:
    made = set(generate.pages())
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            path = (page.parent / target).resolve()
            inside = path.relative_to(ROOT / "docs") if path.is_relative_to(ROOT / "docs") else path
            assert path.exists() or str(inside) in made, f"{page.name}: {target}"


def test_no_page_is_left_out_of_the_site(generate: ModuleType) -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in pages():
        if page.is_relative_to(ROOT / "docs"):
            name = str(page.relative_to(ROOT / "docs"))
            assert f": {name}\n" in nav or name in generate.OTHERS.values(), name


@pytest.mark.slow
@pytest.mark.skipif(not importable("mkdocs"), reason="needs the extra `docs`")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's advertisement
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
