"""The base of data modules whose texts are made of another's."""

from typing import Any

from lightning_contrast.data.asked import Asked
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_rows import TextRows


class DerivedTextDataModule(TextDataModule):
    """Texts of another data module, changed before training; its splits stay. A subclass says how, in :meth:`read`.

    Args:
        texts_of: whose texts.
        functions: what is asked for texts or scores; where it is a user's (:class:`~lightning_contrast.data.asked.Asked`),
            one process a machine asks before the others read its answers.
        **settings: as of :class:`TextDataModule`, but for its sources.
    """

    def __init__(self, texts_of: TextDataModule, functions: tuple[Any, ...] = (), **settings: Any) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        self.texts_of, self.functions = texts_of, functions

    def prepare_data(self) -> None:
        """Of the other one, and what has to be asked."""
        self.texts_of.prepare_data()
        asked = [one for one in self.functions if isinstance(one, Asked)]
        if asked:
            self.read()
        for one in asked:
            one.forget()

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split, and further documents."""
        raise NotImplementedError
