"""Queries beside a paraphrase of theirs and another question that is nearly the same text."""

import random
from dataclasses import replace
from typing import Any

from lightning_contrast.data.asked import written
from lightning_contrast.data.derived_texts import DerivedTextDataModule
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_edits import SynonymSubstitution
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.word_siblings import SiblingSubstitution


class RewrittenQueries(DerivedTextDataModule):
    """Triplets of a query, a paraphrase (``document``) and a minimal edit that asks for something else (``negative``).

    Zhang et al., "Exploring Contrast Consistency of Open-Domain Question Answering Systems on Minimally Edited Questions"
    (TACL 2023, section 4). Mixed with the pairs they come from (``MixedTextDataModule``), the retriever learns to tell
    questions apart that differ in a word. Rewriting is a function of texts: a language model, back-translation or whatever
    else is yours by :class:`~lightning_contrast.data.WrittenBy`; the defaults are WordNet's synonyms and siblings. Each text
    is rewritten once, by `seed`.

    Without mixing, and `distinct`, the triplets of SynCSE (Zhang et al., EMNLP 2023). With `keep_documents`, the pairs
    themselves, each with a hard negative written for its query ("Don't Retrieve, Generate", 2025).

    Args:
        queries_of: pairs whose queries are rewritten; its splits stay.
        paraphrase: ``None`` is :class:`SynonymSubstitution`. A row for which nothing is written is left out.
        edit: ``None`` is :class:`SiblingSubstitution`, of one word. A row for which nothing is written has no negative.
        distinct: leave out triplets of which two texts are equal, as a writer that found nothing to change makes them.
        keep_documents: the query's own document stays, and `paraphrase` is not asked; negatives that the pairs have stay too.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        TextDataError: if `distinct`, or a writer, leaves none.
        ValueError: for a paraphrase that would not be asked.
    """

    def __init__(
        self,
        queries_of: TextDataModule,
        paraphrase: TextView | None = None,
        edit: TextView | None = None,
        distinct: bool = False,
        keep_documents: bool = False,
        **settings: Any,
    ) -> None:
        if keep_documents and paraphrase is not None:
            raise ValueError("keep_documents=True: documents stay, so a paraphrase is not asked; give one of the two.")
        self.paraphrase: TextView = SynonymSubstitution() if paraphrase is None else paraphrase
        self.edit: TextView = SiblingSubstitution() if edit is None else edit
        self.distinct, self.keep_documents = distinct, keep_documents
        super().__init__(queries_of, (self.paraphrase, self.edit), **settings)

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Each query once, by split, and no further documents; with `keep_documents` all pairs and documents."""
        rows, more = self.texts_of.read()
        self.source = f"queries of {self.texts_of.source}, rewritten"
        with isolated_random_state(self.seed):
            random.seed(self.seed)
            made = self._with_negatives if self.keep_documents else self._rewritten
            return {name: made(one) for name, one in rows.items()}, more if self.keep_documents else {}

    def _rewritten(self, rows: TextRows) -> TextRows:
        asked = list(dict.fromkeys(rows.query))
        near, far = written(self.paraphrase, asked), written(self.edit, asked)
        made = [texts for texts in zip(asked, near, far, strict=True) if texts[1]]
        if self.distinct:
            made = [texts for texts in made if len(set(texts)) == 3]
        if not made:
            what = (
                "a paraphrase and an edit that differ from it and from each other" if self.distinct else "a paraphrase"
            )
            raise TextDataError(
                f"distinct={self.distinct}: of {len(asked)} texts none has {what}: give a paraphrase and an edit that change them."
            )
        return TextRows(
            query=[texts[0] for texts in made],
            document=[texts[1] for texts in made],
            negative=[[texts[2]] for texts in made],
            places=[""] * len(made),
        )

    def _with_negatives(self, rows: TextRows) -> TextRows:
        if rows.plain:
            raise TextDataError("keep_documents=True: single texts have no documents; give pairs.")
        far = dict(zip(asked := list(dict.fromkeys(rows.query)), written(self.edit, asked), strict=True))
        made = [
            "" if self.distinct and far[query] in (query, document) else far[query]
            for query, document in zip(rows.query, rows.document, strict=True)
        ]
        held = rows.negative or [[] for _ in made]
        return replace(rows, negative=[[*texts, one] for texts, one in zip(held, made, strict=True)])
