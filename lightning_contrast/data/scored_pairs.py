"""Pairs of texts with a score that a function gives them."""

from dataclasses import replace
from typing import Any

from lightning_contrast.data.asked import Asked
from lightning_contrast.data.derived_texts import DerivedTextDataModule
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_scores import TextScore, WordOverlap


class ScoredPairs(DerivedTextDataModule):
    """The pairs of another data module, each with the ``score`` that a function gives query and document.

    CLAIF and CLHAIF (Cheng et al., ACL Findings 2023), where a language model scores. ``ScoreRegression`` and
    ``ScoredInfoNCE`` read the column. Hard negatives stay.

    Args:
        pairs_of: whose pairs.
        score: ``None`` is :class:`~lightning_contrast.data.WordOverlap`; a function of yours is
            :class:`~lightning_contrast.data.ScoredBy`.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        TextDataError: for single texts.
    """

    def __init__(self, pairs_of: TextDataModule, score: TextScore | None = None, **settings: Any) -> None:
        self.score: TextScore = WordOverlap() if score is None else score
        super().__init__(pairs_of, (self.score,), **settings)

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """The same rows, scored."""
        rows, more = self.texts_of.read()
        self.source = f"{self.texts_of.source}, scored"
        return {name: self._scored(one) for name, one in rows.items()}, more

    def _scored(self, rows: TextRows) -> TextRows:
        if rows.plain:
            raise TextDataError(f"ScoredPairs: {type(self.texts_of).__name__} has single texts, a score is of two.")
        both, ask = list(zip(rows.query, rows.document, strict=True)), self.score
        score = ask.answers(both) if isinstance(ask, Asked) else [ask(*texts) for texts in both]
        return replace(rows, known={**rows.known, "score": score})
