"""Debian's package descriptions as pairs of texts: a short one (the query) and a long one (the document).

About 64,000 pairs, fetched from apt's index without root. Each description is under its package's terms, so none is shipped
here; and the index changes with every release, so count and checksum are part of what a result says about its data.
"""

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_contrast.data.debian import DataNotFoundError, cache_folder, debian_index

FILE = "package-descriptions.jsonl.gz"


class Description(NamedTuple):
    """A package.

    Args:
        package: Its name.
        source: The source package it is built from; its siblings have nearly the same texts.
        short: The line that lists show.
        long: What it says below.
    """

    package: str
    source: str
    short: str
    long: str


def find_package_descriptions(
    root: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Path:
    """The file of descriptions: in `root` when given, else in the cache, where it is fetched to once.

    Args:
        root: A folder with ``package-descriptions.jsonl.gz``. When given, nothing else is tried.
        cache_dir: See :func:`~lightning_contrast.data.debian.cache_folder`.

    Raises:
        DataNotFoundError: If the folder lacks the file, or apt is absent or cannot reach its sources.
    """
    if root is not None:
        path = Path(root) / FILE
        if not path.is_file():
            raise DataNotFoundError(
                f"the folder {root} has no {FILE}, one line of JSON a package with {', '.join(Description._fields)} "
                "(root=None fetches it with apt)"
            )
        return path
    path = cache_folder(cache_dir) / "debian" / FILE
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".descriptions-") as folder:
        try:
            index, texts = debian_index(Path(folder))
        except DataNotFoundError as error:
            raise DataNotFoundError(
                f"Debian's package descriptions were not found: {error}. They come from apt's index; on a machine without "
                f"apt give root=..., a folder with {FILE} made on one that has it (there it is {path})"
            ) from error
        write_descriptions(Path(folder) / FILE, parse_index(index, texts))
        os.replace(Path(folder) / FILE, path)
    return path


def parse_index(index: str, texts: str) -> list[Description]:
    """Join apt's index (for the sources) and its English descriptions, by package name; the first of each name counts."""
    sources = {stanza["Package"]: stanza.get("Source", "").split(" ")[0] for stanza in _stanzas(index)}
    out: dict[str, Description] = {}
    for stanza in _stanzas(texts):
        name = stanza["Package"]
        short, _, long = stanza.get("Description-en", "").partition("\n")
        if short.strip() and long.strip():
            out.setdefault(name, Description(name, sources.get(name) or name, short.strip(), long.strip()))
    return [out[name] for name in sorted(out)]


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Fields of each stanza that has a ``Package``; lines of a field joined by newlines, ``.`` being an empty one."""
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                fields[key] = fields.get(key, "") + "\n" + line.strip().removeprefix(".")
            else:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if fields.get("Package"):
            yield fields


def write_descriptions(path: Path, descriptions: Sequence[Description]) -> None:
    """One line of JSON a package, gzipped; the same descriptions are always the same bytes."""
    lines = "".join(json.dumps(one._asdict()) + "\n" for one in descriptions)
    path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def read_descriptions(path: Path) -> tuple[list[Description], str]:
    """The descriptions, and the first 12 digits of the SHA-256 of their text.

    Raises:
        DataNotFoundError: If the file is not what its name says.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        lines = [Description(**json.loads(line)) for line in content.decode().splitlines()]
        if not lines:
            raise ValueError("it is empty")
    except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise DataNotFoundError(f"{path} cannot be read as package descriptions: {error}; fetch it again") from error
    return lines, hashlib.sha256(content).hexdigest()[:12]


def families(descriptions: Sequence[Description]) -> list[str]:
    """The family of each package: its source, joined with every source that has one of the same long texts.

    What is in one family is no negative for another of it, and goes to the same split. A family has the first name of its
    sources by alphabet.

    Example:
        >>> texts = [("a", "s", "x"), ("b", "s", "y"), ("c", "t", "Y "), ("d", "u", "z")]
        >>> families([Description(name, source, "", long) for name, source, long in texts])
        ['s', 's', 's', 'u']
    """
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    first: dict[str, str] = {}
    for one in descriptions:
        low, high = sorted((root(one.source), root(first.setdefault(plain(one.long), one.source))))
        above[high] = low
    return [root(one.source) for one in descriptions]


def plain(text: str) -> str:
    """A text by which equal ones are known: lower case, single spaces."""
    return " ".join(text.lower().split())
