"""Verses in windows, graded by how far apart they stand: curved contrastive learning and triple-encoders."""

import random
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.verses import VerseDataModule
from lightning_contrast.functional.curved_targets import curved_targets, mixed_targets

BORDER = "\t"
"""Between the texts of a row of several."""


class TextPart(TextView):
    """One of several texts in a row, by its number, with words before it.

    Args:
        number: from 0.
        before: put before it, a marker of its role.

    Raises:
        ValueError: for a negative number; in use for a row of fewer texts.
    """

    def __init__(self, number: int, before: str = "") -> None:
        if number < 0:
            raise ValueError(f"number={number}: must be at least 0.")
        self.number, self.before = number, before

    def __call__(self, text: str) -> str:
        """The part."""
        parts = text.split(BORDER)
        if self.number >= len(parts):
            raise ValueError(f"TextPart({self.number}): the row has {len(parts)} texts.")
        return self.before + parts[self.number]


class VerseWindowDataModule(VerseDataModule):
    """Verses of a chapter with a ``score`` of how near they stand, and others that do not belong together.

    As pairs (Erker et al., ACL 2023): a window's first verse with each later one, graded :func:`curved_targets`; the same
    in reverse, 0; and with one of the two replaced at random, 0. What tells the sides apart are the prompts. As triples,
    `mixed` (Erker et al., ACL 2024): each two verses of the window before its last, and the last, graded
    :func:`mixed_targets`; and with one or both replaced, 0. The three are views: the last verse, then the two, with markers.

    Args:
        window: verses of a window, >= 2 (5 in both papers); of triples >= 4.
        mixed: triples in place of pairs.
        root: as of ``VerseDataModule``.
        subset: how many verses of all splits together.
        cache_dir: as of ``VerseDataModule``.
        query_prompt: the marker of what comes before.
        document_prompt: of what comes after.
        **settings: as of ``TextDataModule``, but for its sources and views.

    Raises:
        DataNotFoundError: as of ``VerseDataModule``.
        ValueError: for a window out of range.
    """

    def __init__(
        self,
        window: int = 5,
        mixed: bool = False,
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        query_prompt: str = "before: ",
        document_prompt: str = "after: ",
        **settings: Any,
    ) -> None:
        curved_targets(window)
        if mixed:
            mixed_targets(window)
            after, one, two = (f"{document_prompt}", f"first {query_prompt}", f"second {query_prompt}")
            settings["view"] = [TextPart(0, after), TextPart(1, one), TextPart(2, two)]
            query_prompt = document_prompt = ""
        prompts = {"query_prompt": query_prompt, "document_prompt": document_prompt}
        super().__init__("single", root, subset, cache_dir, **prompts, **settings)
        self.window, self.mixed = window, mixed

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Graded rows by split; no further documents."""
        splits, _ = super().read()
        made = mixed_rows if self.mixed else curved_rows
        out = {name: made(_chapters(rows), self.window, self.seed) for name, rows in splits.items()}
        return {name: rows for name, rows in out.items() if len(rows)}, {}

    def _held(self, name: str, views: bool = False) -> Dataset[Any]:
        found = super()._held(name, views)
        if not (self.mixed and views):
            return found
        return ContrastiveDataset(self._sets[name], views=self.view, seed=self.seed)  # type: ignore[arg-type]


def _chapters(rows: TextRows) -> list[list[str]]:
    found: dict[int, list[str]] = {}
    for text, chapter in zip(rows.query, rows.known["chapter"], strict=True):
        found.setdefault(chapter, []).append(text)
    return list(found.values())


def curved_rows(sequences: Sequence[Sequence[str]], window: int = 5, seed: int = 0) -> TextRows:
    """Graded pairs of every window of the sequences: as they follow each other, reversed, and with one at random."""
    drawn = random.Random(seed)
    pool = [text for texts in sequences for text in texts]
    found: list[tuple[str, str, float]] = []
    for texts in sequences:
        for start in range(len(texts) - window + 1):
            first, *later = texts[start : start + window]
            for text, target in zip(later, curved_targets(window), strict=True):
                other = drawn.choice(pool)
                random_pair = (other, text) if drawn.random() < 0.5 else (first, other)
                found += [(first, text, target), (text, first, 0.0), (*random_pair, 0.0)]
    return TextRows(
        query=[one for one, _, _ in found],
        document=[two for _, two, _ in found],
        known={"score": [score for _, _, score in found]},
        places=[f"pair {number}" for number in range(len(found))],
    )


def mixed_rows(sequences: Sequence[Sequence[str]], window: int = 5, seed: int = 0) -> TextRows:
    """Graded triples of every window: the last text and two before it, joined; and with one or both of these at random."""
    drawn = random.Random(seed)
    pool = [text for texts in sequences for text in texts]
    out = TextRows(known={"score": []})
    for texts in sequences:
        for start in range(len(texts) - window + 1):
            *context, last = texts[start : start + window]
            for (a, b), target in mixed_targets(window).items():
                strange = drawn.choice([(True, False), (False, True), (True, True)])
                one, two = (drawn.choice(pool) if new else context[at] for new, at in zip(strange, (a, b), strict=True))
                out.query += [BORDER.join((last, context[a], context[b])), BORDER.join((last, one, two))]
                out.known["score"] += [target, 0.0]
    out.places = [f"triple {number}" for number in range(len(out))]
    return out
