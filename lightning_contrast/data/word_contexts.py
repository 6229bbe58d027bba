"""Words and the words around them, in the glosses of WordNet."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.wordnet import find_wordnet, read_wordnet
from lightning_contrast.data.wordnet_datamodule import WordNetDataModule
from lightning_contrast.data.words import words_of


class WordContextDataModule(WordNetDataModule):
    """A word asks for a word near it in a gloss; negatives are words drawn by their count to the power 0.75.

    Mikolov et al., "Distributed Representations of Words and Phrases" (NeurIPS 2013, sections 2.2 and 2.3), as Ri, Lee and
    Verma (ACL 2023) use it: frequent words are skipped with probability ``1 - sqrt(rare / share)``. Splits are by gloss.

    Args:
        window: words on each side that count as context, >= 1.
        negatives: of each pair, >= 1.
        min_count: words that come less often are left out.
        rare: share of all words above which words are skipped.
        root: as of ``WordNetDataModule``.
        subset: how many glosses.
        cache_dir: as of ``WordNetDataModule``.
        **settings: as of ``TextDataModule``, but for its sources.

    Raises:
        DataNotFoundError: as of ``WordNetDataModule``.
        ValueError: for numbers out of range; in use where no word is left.
    """

    def __init__(
        self,
        window: int = 5,
        negatives: int = 5,
        min_count: int = 50,
        rare: float = 1e-3,
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(task="glosses", root=root, subset=subset, cache_dir=cache_dir, **settings)
        if window < 1 or negatives < 1 or min_count < 1 or not rare > 0:
            raise ValueError(
                f"window={window}, negatives={negatives}, min_count={min_count}, rare={rare}: need at least 1, 1 and 1, and > 0."
            )
        self.window, self.negatives, self.min_count, self.rare = window, negatives, min_count, rare

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Pairs of words with negatives, by split; no further documents."""
        folder = find_wordnet(self.root, self.cache_dir)
        glosses = [one.gloss for one in read_wordnet(folder) if len(one.gloss.split()) > 1]
        glosses = [glosses[row] for row in first_by_hash([plain(gloss) for gloss in glosses], self.subset)]
        self.source = f"WordNet, the words of {len(glosses)} glosses in {folder}"
        rows = word_pairs(
            [words_of(gloss) for gloss in glosses], self.window, self.negatives, self.min_count, self.rare, self.seed
        )
        if not len(rows):
            raise ValueError(f"min_count={self.min_count}: no two words of a gloss are left; lower it.")
        held = in_parts(TextRows(query=glosses, places=[str(row) for row in range(len(glosses))]), glosses)
        split = {int(row): name for name, part in held.items() for row in part.places}
        chosen: dict[str, list[int]] = {}
        for at, place in enumerate(rows.places):
            if int(place) in split:
                chosen.setdefault(split[int(place)], []).append(at)
        return {name: rows.take(taken) for name, taken in chosen.items()}, {}

    def _told_of_leaks(self, rows: dict[str, TextRows]) -> None:
        """Words are in all splits; their pairs are held out."""


def word_pairs(
    texts: Sequence[Sequence[str]],
    window: int = 5,
    negatives: int = 5,
    min_count: int = 1,
    rare: float = 1.0,
    seed: int = 0,
) -> TextRows:
    """Rows of a word, a word at most `window` places from it, and `negatives` others; places are the text's number."""
    drawn = random.Random(seed)
    counts = Counter(word for words in texts for word in words)
    total = sum(counts.values())
    known = sorted(word for word, count in counts.items() if count >= min_count)
    keep = {word: min(1.0, (rare * total / counts[word]) ** 0.5) for word in known}
    weights = [counts[word] ** 0.75 for word in known]
    out = TextRows()
    for number, words in enumerate(texts):
        kept = [word for word in words if word in keep and drawn.random() < keep[word]]
        for at, word in enumerate(kept):
            for other in [*kept[max(0, at - window) : at], *kept[at + 1 : at + 1 + window]]:
                out.query.append(word)
                out.document.append(other)
                out.places.append(str(number))
    flat = drawn.choices(known, weights, k=negatives * len(out)) if len(out) else []
    out.negative = [flat[start : start + negatives] for start in range(0, len(flat), negatives)]
    return out
