"""Queries beside a paraphrase of theirs and another question that is nearly the same text."""

import random
from typing import Any

from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_edits import SynonymSubstitution
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_views import TextView
from lightning_contrast.data.word_siblings import SiblingSubstitution


class RewrittenQueries(TextDataModule):
    """Triplets of a query, a paraphrase (``document``) and a minimal edit that asks for something else (``negative``).

    Zhang et al., "Exploring Contrast Consistency of Open-Domain Question Answering Systems on Minimally Edited Questions"
    (TACL 2023, section 4). Mixed with the pairs they come from (``MixedTextDataModule``), the retriever learns to tell
    questions apart that differ in a word. Rewriting is a function of texts: back-translation or a language model where there
    is one; the defaults are WordNet's synonyms and siblings. Each text is rewritten once, by `seed`.

    Alone and `distinct` they are the data of SynCSE (Zhang et al., EMNLP 2023).

    Args:
        queries_of: pairs whose queries are rewritten; its splits stay.
        paraphrase: ``None`` is :class:`SynonymSubstitution`.
        edit: ``None`` is :class:`SiblingSubstitution`, of one word.
        distinct: leave out triplets of which two texts are equal, as a writer that found nothing to change makes them.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        TextDataError: if `distinct` leaves none.
    """

    def __init__(
        self,
        queries_of: TextDataModule,
        paraphrase: TextView | None = None,
        edit: TextView | None = None,
        distinct: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        self.queries_of, self.distinct = queries_of, distinct
        self.paraphrase: TextView = SynonymSubstitution() if paraphrase is None else paraphrase
        self.edit: TextView = SiblingSubstitution() if edit is None else edit

    def prepare_data(self) -> None:
        """Of the pairs."""
        self.queries_of.prepare_data()

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Each query once, by split; no further documents."""
        rows, _ = self.queries_of.read()
        self.source = f"queries of {self.queries_of.source}, rewritten"
        with isolated_random_state(self.seed):
            random.seed(self.seed)
            return {name: self._rewritten(one) for name, one in rows.items()}, {}

    def _rewritten(self, rows: TextRows) -> TextRows:
        asked = list(dict.fromkeys(rows.query))
        near, far = [self.paraphrase(text) for text in asked], [self.edit(text) for text in asked]
        made = list(zip(asked, near, far, strict=True))
        if self.distinct:
            made = [texts for texts in made if len(set(texts)) == 3]
            if not made:
                raise TextDataError(
                    f"distinct=True: of {len(asked)} texts none has a paraphrase and an edit that differ from it and from each "
                    "other: give a paraphrase and an edit that change them."
                )
        return TextRows(
            query=[texts[0] for texts in made],
            document=[texts[1] for texts in made],
            negative=[[texts[2]] for texts in made],
            places=[""] * len(made),
        )
