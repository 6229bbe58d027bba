"""A text that is nearly the same and says something else."""

import os
import random
from collections.abc import Mapping
from pathlib import Path

from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.wordnet import Tree, find_wordnet, read_wordnet


class SiblingSubstitution(TextView):
    """One or a few words become siblings of theirs: another meaning under the same broader one, such as wolf for dog.

    A stand-in for a model that writes minimal edits. Where no word of a text has siblings, one word is left out.

    Args:
        count: words that are replaced, >= 1, as far as there are.
        siblings: of words in lower case, each a list; or ``None`` for those of WordNet's nouns and verbs.
        root: folder of WordNet's files; ``None`` fetches Debian's package, once.
        cache_dir: where it is kept; see :class:`WordNetDataModule`.

    Raises:
        ValueError: for fewer words.
        DataNotFoundError: in use, if WordNet is asked and not there.
    """

    def __init__(
        self,
        count: int = 1,
        siblings: Mapping[str, list[str]] | None = None,
        root: str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count={count}: must be at least 1.")
        self.count, self.root, self.cache_dir = count, root, cache_dir
        self._siblings = None if siblings is None else dict(siblings)

    def change(self, words: list[str]) -> list[str]:
        """As many words, unless a sibling has several; at least one."""
        if self._siblings is None:  # read where it is used: worker processes need no copy of it before
            self._siblings = siblings_of(find_wordnet(self.root, self.cache_dir))
        known = [place for place, word in enumerate(words) if self._siblings.get(word.lower())]
        if not known:
            gone = random.randrange(len(words))
            return words[:gone] + words[gone + 1 :] or words
        chosen = set(random.sample(known, min(self.count, len(known))))
        return [
            random.choice(self._siblings[word.lower()]) if place in chosen else word for place, word in enumerate(words)
        ]


def siblings_of(folder: Path, most: int = 20) -> dict[str, list[str]]:
    """Of each single word of WordNet the first words of at most so many synsets beside the first of its own."""
    tree = Tree(read_wordnet(folder))
    found: dict[str, list[str]] = {}
    for one in tree.synsets.values():
        for word in one.words:
            if " " in word or word.lower() in found or not one.broader or one.broader[0] not in tree.synsets:
                continue
            beside = [tree.synsets[key].words[0] for key in tree.below[one.broader[0]] if key != one.key]
            others = [other for other in dict.fromkeys(beside) if other.lower() not in {w.lower() for w in one.words}]
            if others:
                found[word.lower()] = others[:most]
    return found
