"""Functions of installed Python packages as a DataModule of texts: find the code from what its docstring says."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows

PACKAGES = ("sklearn", "matplotlib", "numpy", "networkx", "lightning", "torchmetrics")
LONGEST = 4000
"""Characters of code at most; encoders read less."""


class Documented(NamedTuple):
    """A function.

    Args:
        module: its file, from the package's folder.
        name: its name.
        says: the first paragraph of its docstring.
        code: its source without the docstring.
    """

    module: str
    name: str
    says: str
    code: str


class PythonCodeDataModule(TextDataModule):
    """What is in this machine's Python packages: the first paragraph of a docstring is the query, the code its document.

    Other versions of the packages are other data; :attr:`source` tells their count and a checksum. ``label`` is the module.
    Splits are by module and text: neither a module nor a docstring nor a code is in two.

    Args:
        packages: names of installed packages; None is scikit-learn, Matplotlib, NumPy, NetworkX, Lightning and torchmetrics,
            which this library needs itself.
        subset: how many functions of all splits together, by a hash of their module; None is all.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        TextDataError: for a package that is not installed, or has no such function.
        ValueError: if a number is out of range.
    """

    def __init__(self, packages: list[str] | None = None, subset: int | None = None, **settings: Any) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        if subset is not None and subset < 1:
            raise ValueError(f"subset={subset}: must be at least 1.")
        self.packages, self.subset = packages or list(PACKAGES), subset

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split; no further documents."""
        found = documented(self.packages)
        text = "".join(one.says + one.code for one in found)
        checksum = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        self.source = f"{len(found)} functions of {', '.join(self.packages)} (SHA-256 {checksum})"
        module = list(dict.fromkeys(one.module for one in found))
        number = {name: at for at, name in enumerate(module)}
        rows = TextRows(
            query=[one.says for one in found],
            document=[one.code for one in found],
            known={"label": [number[one.module] for one in found]},
            places=[f"{one.module}:{one.name}" for one in found],
        )
        chosen = first_by_hash([one.module for one in found], self.subset)
        return in_parts(rows.take(chosen), [found[row].module for row in chosen]), {}


def documented(packages: Sequence[str]) -> list[Documented]:
    """Functions with a docstring of at least four words, in the order of files; each docstring and each code once.

    Raises:
        TextDataError: for a package that is not installed, or if there is none.
    """
    out, seen = [], set()
    for package in packages:
        found = importlib.util.find_spec(package) if package.isidentifier() else None
        if found is None or not found.submodule_search_locations:
            raise TextDataError(
                f"packages: {package!r} is no installed package with a folder; install it, or leave it out."
            )
        folder = Path(found.submodule_search_locations[0])
        for path in sorted(folder.rglob("*.py")):
            name = str(Path(package) / path.relative_to(folder))
            if "test" in name:
                continue
            for one in _functions(name, path.read_text(encoding="utf-8", errors="replace")):
                says, code = plain(one.says), plain(one.code)
                if says not in seen and code not in seen:
                    seen |= {says, code}
                    out.append(one)
    if not out:
        raise TextDataError(f"packages={list(packages)}: no function there has a docstring of four words.")
    return out


def _functions(module: str, text: str) -> Iterator[Documented]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return  # templates and files for other versions of Python
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and len(node.body) > 1:
            says = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            first = node.body[0]
            if len(says.split()) >= 4 and first.end_lineno is not None:
                kept = [*lines[node.lineno - 1 : first.lineno - 1], *lines[first.end_lineno : node.end_lineno]]
                yield Documented(module, node.name, says, "\n".join(kept)[:LONGEST])
