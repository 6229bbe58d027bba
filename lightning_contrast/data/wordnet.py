"""WordNet's synsets: words of one meaning, their gloss, and the tree of broader meanings above them."""

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lightning_contrast.data.debian import DataNotFoundError, debian_package_path

FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
BROADER = ("@", "@i")
"""Pointers to a hypernym, and from an instance (a town) to its class."""


class Synset(NamedTuple):
    """Words of one meaning.

    Args:
        key: part of speech and place in its file, ``n00001740``.
        category: number of the lexicographer file, 0 to 44: animals, artefacts, motion, ...
        words: the words, with blanks.
        gloss: the definition, without the examples that may follow it.
        broader: keys of its hypernyms.
    """

    key: str
    category: int
    words: tuple[str, ...]
    gloss: str
    broader: tuple[str, ...]


def find_wordnet(root: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of WordNet's data files: `root`, or that of Debian's package ``wordnet-base``, fetched once.

    Raises:
        DataNotFoundError: if `root` lacks the files, or the package cannot be fetched.
    """
    folder = Path(root) if root is not None else debian_package_path("wordnet-base", cache_dir) / "usr/share/wordnet"
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataNotFoundError(
            f"the folder {folder} has no {', '.join(missing)} of WordNet (root=None fetches Debian's package wordnet-base)."
        )
    return folder


def read_wordnet(folder: Path) -> list[Synset]:
    """All synsets, in the order of the files.

    Raises:
        DataNotFoundError: for a line that is none of WordNet's, with its place.
    """
    out = []
    for name in FILES:
        for number, line in enumerate((folder / name).read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("  "):  # the licence
                continue
            try:
                out.append(_synset(line))
            except (ValueError, IndexError) as error:
                raise DataNotFoundError(
                    f"{folder / name}, line {number}: is no synset of WordNet ({error}); was the file cut?"
                ) from error
    if not out:
        raise DataNotFoundError(f"{folder}: its files have no synset.")
    return out


def _synset(line: str) -> Synset:
    head, gloss = line.split("|", 1)
    fields = head.split()
    kind, count = _kind(fields[2]), int(fields[3], 16)
    words = tuple(fields[4 + 2 * i].partition("(")[0].replace("_", " ") for i in range(count))  # "(a)": where it stands
    start = 4 + 2 * count
    pointers = [fields[start + 1 + 4 * i : start + 5 + 4 * i] for i in range(int(fields[start]))]
    broader = tuple(_kind(to) + place for sign, place, to, _ in pointers if sign in BROADER)
    return Synset(kind + fields[0], int(fields[1]), words, gloss.split('; "')[0].strip().rstrip(";"), broader)


def _kind(sign: str) -> str:
    return "a" if sign == "s" else sign  # satellites of adjectives are in their file


class Tree:
    """Which synsets are broader, beside, and how near to each other.

    Args:
        synsets: of one WordNet; hypernyms that are not among them do not count.
    """

    def __init__(self, synsets: Sequence[Synset]) -> None:
        self.synsets = {one.key: one for one in synsets}

    def above(self, key: str) -> list[str]:
        """The way up, itself first; at each step the first of the hypernyms."""
        out = [key]
        while True:
            step = next((up for up in self.synsets[out[-1]].broader if up in self.synsets and up not in out), None)
            if step is None:
                return out
            out.append(step)

    @cached_property
    def below(self) -> dict[str, list[str]]:
        """What has this one as its first hypernym, in the order of the files."""
        found = defaultdict(list)
        for one in self.synsets.values():
            if one.broader and one.broader[0] in self.synsets:
                found[one.broader[0]].append(one.key)
        return dict(found)

    def nearness(self, first: str, second: str) -> float:
        """In [0, 1], 1 for the same: twice the depth of the nearest common meaning over the sum of both depths (Wu and
        Palmer 1994, "Verb semantics and lexical selection"; roots have depth 1); 0 if nothing is above both."""
        one, other = self.above(first), self.above(second)
        common = next((up for up in one if up in other), None)
        return 0.0 if common is None else 2 * len(self.above(common)) / (len(one) + len(other))
