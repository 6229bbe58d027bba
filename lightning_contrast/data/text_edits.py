"""Further views of a text: spans left out, words replaced by synonyms, halves."""

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.wordnet import find_wordnet, read_wordnet


class SpanDeletion(TextView):
    """A few stretches of words are left out, each replaced by one marker (Wu et al. 2020, CLEAR, section 3.2).

    Args:
        spans: how many, >= 0.
        share: length of each as a share of the words, in [0, 1]; one word at least.
        marker: put in the place of each; ``None`` puts nothing. ``[MASK]`` is a token that every ``TextTokenizer`` knows.

    Raises:
        ValueError: if numbers are out of range.
    """

    def __init__(self, spans: int = 5, share: float = 0.05, marker: str | None = "[MASK]") -> None:
        if spans < 0 or not 0 <= share <= 1:
            raise ValueError(f"spans={spans}, share={share}: need spans >= 0 and a share in [0, 1].")
        self.spans, self.share, self.marker = spans, share, marker

    def change(self, words: list[str]) -> list[str]:
        """The words outside the spans; one stays at least. Spans that touch are one."""
        length = max(1, round(self.share * len(words)))
        gone: set[int] = set()
        for _ in range(self.spans if self.share else 0):
            start = random.randint(0, max(0, len(words) - length))
            gone |= set(range(start, min(start + length, len(words))))
        return marked(words, gone, self.marker)


class SynonymSubstitution(TextView):
    """Words are replaced by synonyms (Wu et al. 2020, CLEAR, section 3.2).

    Args:
        rate: share of the words that have synonyms, in [0, 1].
        synonyms: of words in lower case, each a list; or ``None`` for WordNet: words of one synset.
        root: folder of WordNet's files; ``None`` fetches Debian's package, once.
        cache_dir: where it is kept; see :class:`WordNetDataModule`.

    Raises:
        ValueError: for a rate out of range.
        DataNotFoundError: in use, if WordNet is asked and not there.
    """

    def __init__(
        self,
        rate: float = 0.3,
        synonyms: Mapping[str, list[str]] | None = None,
        root: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate}: must lie in [0, 1].")
        self.rate, self.root, self.cache_dir = rate, root, cache_dir
        self._synonyms = None if synonyms is None else dict(synonyms)

    def change(self, words: list[str]) -> list[str]:
        """As many words, unless a synonym has several."""
        if self._synonyms is None:  # read where it is used: worker processes need no copy of it before
            self._synonyms = synonyms_of(find_wordnet(self.root, self.cache_dir))
        return [self._other(word) if random.random() < self.rate else word for word in words]

    def _other(self, word: str) -> str:
        assert self._synonyms is not None
        found = self._synonyms.get(word.lower())
        return random.choice(found) if found else word


class WordHalf(TextView):
    """One half of a text, cut in the middle; of a single word both halves are the word.

    Args:
        half: which one; the first has the extra word of an odd number.

    Raises:
        ValueError: for another.
    """

    def __init__(self, half: Literal["first", "second"] = "first") -> None:
        if half not in ("first", "second"):
            raise ValueError(f"half={half!r}: use 'first' or 'second'.")
        self.half = half

    def change(self, words: list[str]) -> list[str]:
        """At least one word."""
        middle = (len(words) + 1) // 2
        return words[:middle] if self.half == "first" else words[middle:] or words


def marked(words: list[str], gone: set[int], marker: str | None) -> list[str]:
    """The words that are not gone, neighbours that are gone as one marker; the first word where none would be left.

    Example:
        >>> marked(["a", "b", "c", "d"], {1, 2}, "-")
        ['a', '-', 'd']
    """
    if len(gone) >= len(words):
        gone = set(range(1, len(words)))
    out: list[str] = []
    for place, word in enumerate(words):
        if place not in gone:
            out.append(word)
        elif marker is not None and place - 1 not in gone:
            out.append(marker)
    return out


def synonyms_of(folder: Path) -> dict[str, list[str]]:
    """Of each word of WordNet in `folder` those that share a synset with it."""
    found: dict[str, dict[str, None]] = {}
    for one in read_wordnet(folder):
        for word in one.words:
            others = {other: None for other in one.words if other.lower() != word.lower()}
            if others:
                found.setdefault(word.lower(), {}).update(others)
    return {word: list(others) for word, others in found.items()}
