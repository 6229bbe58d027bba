"""Pages made when the site is built: one a shipped method, one a folder of the package.

A hook of mkdocs. It reads recipes and sources as text: neither torch nor the package's classes are imported. The pages
that other tools write (evidence, benchmarks, architecture) join the navigation when they are there.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the package beside this file, installed or not

from lightning_contrast.cli.arguments import read_arguments  # noqa: E402
from lightning_contrast.cli.recipes import FOLDER, Method, methods  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PACKAGE = ROOT / "lightning_contrast"
ROOMS = {
    "contrast": "The hall",
    "modules": "Modules",
    "objectives": "Objectives",
    "regularisers": "Regularisers",
    "targets": "Targets",
    "similarities": "Similarities",
    "temperatures": "Temperatures",
    "heads": "Heads",
    "transforms": "Transforms",
    "encoders": "Encoders",
    "optim": "Optimisers and schedules",
    "mining": "Mining",
    "callbacks": "Callbacks",
    "data": "Data",
    "metrics": "Metrics",
    "functional": "Functions",
}
OTHERS = {"Architecture": "architecture.md", "Benchmarks": "benchmarks.md"}
SURE = {
    "high": "This is the paper's method.",
    "medium": "This is the paper's method as far as the paper says; some details are ours.",
    "low": "A reconstruction: the paper leaves open how parts of it work, and they are our reading.",
}
HEAD = ("title", "kind", "component", "sure", "verified")


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """The generated pages join the navigation."""
    nav: Any = config.nav
    listed = [{method.slug: f"methods/{method.slug}.md"} for method in methods()]
    nav.append({"Methods": ["methods/index.md", *listed]})
    nav.append({"API": [{title: f"api/{room}.md"} for room, title in rooms().items()]})
    docs = Path(config.docs_dir)
    more = [{title: path} for title, path in OTHERS.items() if (docs / path).is_file()]
    more += [{heading(path): str(path.relative_to(docs))} for path in evidence_pages()]
    if more:
        nav.append({"More": more})
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """The generated pages themselves."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """All generated pages by their path below ``docs/``."""
    shipped = methods()
    return {
        "methods/index.md": method_index(shipped),
        **{f"methods/{method.slug}.md": method_page(method) for method in shipped},
        **{f"api/{room}.md": room_page(room, title) for room, title in rooms().items()},
    }


def method_index(shipped: list[Method]) -> str:
    """A table of all methods."""
    rows = [f"| [{m.slug}]({m.slug}.md) | {m.title} | {m.kind} | {m.sure} |" for m in shipped]
    return "\n".join(
        [
            "# Methods\n",
            "What is shipped, as `lightning-contrast methods` lists it. *Sure* says how sure it is that this is the paper's",
            "method; low is a reconstruction.\n",
            "| method | title | kind | sure |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def method_page(method: Method, folder: Path = FOLDER) -> str:
    """Idea, formula, parts, defaults, how sure, evidence."""
    text = (folder / f"{method.slug}.yaml").read_text(encoding="utf-8")
    doc = docstring(method.component) if method.component else None
    out = [f"# {method.slug}\n", f"*{method.title}*\n"]
    out += ["## Idea\n", idea(text) or "See the formula.", ""]
    if doc:
        out += ["## Formula\n", f"From [`{method.component}`][{full_path(method.component or '')}]:\n", plain(doc), ""]
    if source := code(method.component or ""):
        out += ["As it stands in the source:\n", "```python", source, "```\n"]
    if method.recipe:
        parts = composed(read_arguments([f"--config={folder / method.slug}.yaml"]).config)  # with its base's
        out += ["## What it composes\n", "| role | class |", "|---|---|"]
        out += [f"| {role} | {linked(name)} |" for role, name in parts]
        out += ["", "## Defaults\n", "```yaml", body(text), "```\n"]
        out += ["```bash", f"lightning-contrast fit --config {method.recipe}", "```\n"]
    else:
        out += ["## Use\n", f"A component without a training of its own: import `{method.component}`.\n"]
    out += ["## How sure\n", f"**{method.sure}**. {SURE.get(method.sure, '')}\n"]
    if method.verified:
        out += ["Verified by: " + ", ".join(method.verified) + ".\n"]
    found = evidence(method.slug)
    out += ["## Evidence\n", found or "No run of this method has been published yet.", ""]
    return "\n".join(out)


def room_page(room: str, title: str) -> str:
    """The public classes and functions of a folder."""
    out = [f"# {title}\n", f"`lightning_contrast.{room}`\n"]
    for module in sorted((PACKAGE / room).glob("*.py")):
        if module.stem != "__init__" and public(module):
            out += [f"::: lightning_contrast.{room}.{module.stem}", "    options:", "      heading_level: 2", ""]
    return "\n".join(out)


def rooms() -> dict[str, str]:
    """Folders with something public, by title."""
    return {
        r: t for r, t in ROOMS.items() if any(public(p) for p in (PACKAGE / r).glob("*.py") if p.stem != "__init__")
    }


def idea(text: str) -> str:
    """The free words in the comments at the head of a recipe."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.lstrip("#").strip()
        if not words.startswith(tuple(f"{key}:" for key in HEAD)):
            head.append(words)
    return "\n".join(head).strip()


def body(text: str) -> str:
    """The recipe without its head."""
    lines = text.splitlines()
    while lines and (lines[0].startswith("#") or not lines[0].strip()):
        lines.pop(0)
    return "\n".join(lines)


def composed(config: Any, role: str = "") -> list[tuple[str, str]]:
    """Every class a configuration names, with the key it stands under."""
    out: list[tuple[str, str]] = []
    if isinstance(config, list):
        return [pair for entry in config for pair in composed(entry, role)]
    if isinstance(config, dict):
        if isinstance(config.get("class_path"), str):
            out.append((role, config["class_path"]))
        for key, value in config.items():
            if key != "class_path":
                out += composed(value, role if key == "init_args" else key)
    return out


@lru_cache
def tree(path: Path) -> ast.Module:
    """A parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(path: Path) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public classes and functions of a file."""
    for node in tree(path).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            yield node


def public(path: Path) -> bool:
    """Whether a file defines anything public."""
    return any(True for _ in definitions(path))


@lru_cache
def homes() -> dict[str, str]:
    """Full path of every public class and function of the package, by short name and folder."""
    out: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in definitions(path):
            out[f"{module}.{node.name}"] = f"{module}.{node.name}"
            out.setdefault(f"{module.rpartition('.')[0]}.{node.name}", f"{module}.{node.name}")
            out.setdefault(f"lightning_contrast.{node.name}", f"{module}.{node.name}")
            if isinstance(node, ast.ClassDef):
                out.setdefault(node.name, f"{module}.{node.name}")
    return out


def full_path(name: str) -> str:
    """Where a class or function is defined; the name itself if it is not ours."""
    return homes().get(name, name)


def linked(name: str) -> str:
    """A class, linked to its reference if it is ours."""
    path = full_path(name)
    room = path.split(".")[1] if path.startswith("lightning_contrast.") else None
    return f"[`{name}`][{path}]" if room in rooms() else f"`{name}`"


def definition(component: str) -> tuple[Path, ast.ClassDef | ast.FunctionDef] | None:
    """The file and definition of a class or function of the package."""
    module, _, name = full_path(component).rpartition(".")
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    found = [node for node in definitions(path) if node.name == name] if path.is_file() else []
    return (path, found[0]) if found else None


def docstring(component: str) -> str | None:
    """Its docstring."""
    found = definition(component)
    return ast.get_docstring(found[1]) if found else None


def plain(doc: str) -> str:
    """The words of a docstring before its sections."""
    return re.split(r"\n\s*(?:Args|Returns|Raises|Example|Examples|Note)::?\s*\n", readable(doc))[0].strip()


def readable(doc: str) -> str:
    """reST's marks turned into Markdown's: formulas, names, and examples as a section of code."""
    doc = re.sub(r"^(\s*)Examples?::?[ ]*$", r"\1Examples:", doc, flags=re.MULTILINE)
    doc = re.sub(r":math:`([^`]*)`", lambda m: f"${m[1]}$", doc)
    doc = re.sub(r":\w+:`~?\.?([^`]*)`", lambda m: f"`{m[1].split('.')[-1]}`", doc)
    return re.sub(r"``([^`]+)``", r"`\1`", doc)


def code(component: str) -> str | None:
    """The method of an objective that is its formula, as it stands in the source."""
    found = definition(component)
    if found is None:
        return None
    path, node = found
    methods = {m.name: m for m in node.body if isinstance(m, ast.FunctionDef)}
    chosen = next((methods[m] for m in ("rows", "batch", "on_contrast", "compute") if m in methods), None)
    if chosen is None:
        return None
    lines = path.read_text(encoding="utf-8").splitlines()[chosen.lineno - 1 : chosen.end_lineno]
    return "\n".join(line.removeprefix("    ") for line in lines)


def evidence_pages() -> list[Path]:
    """Pages of results."""
    return sorted((ROOT / "docs" / "evidence").glob("*.md"))


def heading(path: Path) -> str:
    """The title of a page."""
    found = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return found[1] if found else path.stem


def evidence(slug: str) -> str:
    """The rows about a method in the tables of the pages of results, with their headers."""
    out = []
    for path in evidence_pages():
        lines = path.read_text(encoding="utf-8").splitlines()
        for start, line in enumerate(lines[1:], 1):
            if not re.fullmatch(r"\|[\s:|-]+\|", line):
                continue
            rows = []
            for row in lines[start + 1 :]:
                if not row.startswith("|"):
                    break
                cells = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell).strip(" `*") for cell in row.split("|")]
                if slug in cells[1:3]:
                    rows.append(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", row))
            if rows:
                out.append("\n".join([f"[{heading(path)}](../evidence/{path.name})\n", lines[start - 1], line, *rows]))
    return "\n\n".join(out)
