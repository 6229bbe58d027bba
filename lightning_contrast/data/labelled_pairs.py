"""A few labelled texts as many pairs that share a label or do not."""

from collections import Counter
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader

from lightning_contrast.data.derived_texts import DerivedTextDataModule
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_sets import PlainTexts
from lightning_contrast.functional.balanced_pairs import balanced_pairs
from lightning_contrast.functional.few_label import draw_per_class


class LabelledPairs(DerivedTextDataModule):
    """Trains on pairs of a few labelled texts, ``score`` 1 for equal labels and 0 for others; classifies by the texts alone.

    SetFit (Tunstall et al. 2022), as in "Contrast Is All You Need" (2023): ``ScoreRegression`` on these pairs, then a logistic
    regression on the frozen embeddings of the same texts (``OnlineLinearProbe``, ``evaluate``). The bank is the labelled texts,
    validation and test are whole splits, but for classes that have a single text there.

    Args:
        texts_of: texts with ``label``; of pairs the queries count.
        shots: labelled texts of each class, >= 2; classes that have fewer are left out. ``None`` is all.
        pairs: ``R`` pairs of equal labels and as many of different ones, >= 1.
        per: for each ``text``, or for each ``class``.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        TextDataError: for texts without labels, or fewer than two classes.
        ValueError: for numbers out of range.
    """

    def __init__(
        self,
        texts_of: TextDataModule,
        shots: int | None = 8,
        pairs: int = 20,
        per: Literal["text", "class"] = "text",
        **settings: Any,
    ) -> None:
        super().__init__(texts_of, **settings)
        if (shots is not None and shots < 2) or pairs < 1 or per not in ("text", "class"):
            raise ValueError(
                f"shots={shots}, pairs={pairs}, per={per!r}: need 2 shots, 1 pair, for each 'text' or 'class'."
            )
        self.shots, self.pairs, self.per = shots, pairs, per
        self.texts: dict[str, TextRows] = {}
        """The labelled texts of each split; labels are numbered anew from 0."""

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Pairs of the chosen texts, and of those that are held out; no documents."""
        rows, _ = self.texts_of.read()
        if len(rows) == 1:
            rows = self.texts_of._split(rows["train"])
        if "label" not in rows["train"].known:
            raise TextDataError(f"LabelledPairs: {type(self.texts_of).__name__} has texts without label.")
        labels = torch.tensor(rows["train"].known["label"])
        seen, count = labels.unique(return_counts=True)
        classes = [int(c) for c, n in zip(seen, count, strict=True) if c >= 0 and n >= (self.shots or 2)]
        if len(classes) < 2:
            raise TextDataError(f"shots={self.shots}: {len(classes)} classes have so many texts; two are needed.")
        number = {label: at for at, label in enumerate(classes)}
        self.texts = {name: _of_classes(one, number) for name, one in rows.items()}
        if self.shots is not None:
            drawn = draw_per_class(torch.tensor(self.texts["train"].known["label"]), self.shots, self.seed)
            self.texts["train"] = self.texts["train"].take(drawn.tolist())
        self.source = f"{len(self.texts['train'])} texts of {len(classes)} classes, from {self.texts_of.source}"
        return {name: self._paired(one, name) for name, one in self.texts.items()}, {}

    def _paired(self, texts: TextRows, split: str) -> TextRows:
        held = split != "train"
        if held:  # two pairs a text tell enough, and a class that has but one text here has none
            count = Counter(texts.known["label"])
            if sum(number > 1 for number in count.values()) < 2:
                raise TextDataError(
                    f"LabelledPairs: of the {len(texts)} texts of {split} with a label that is trained on, fewer than two classes "
                    f"have two: give more texts, or a {split} split of your own."
                )
            texts = texts.take([row for row, label in enumerate(texts.known["label"]) if count[label] > 1])
        pairs, per = (1, "text") if held else (self.pairs, self.per)
        found = balanced_pairs(torch.tensor(texts.known["label"]), pairs, per, self.seed)  # type: ignore[arg-type]
        first, second = found.first.tolist(), found.second.tolist()
        return TextRows(
            query=[texts.query[row] for row in first],
            document=[texts.query[row] for row in second],
            known={"score": found.same.tolist(), "label": [texts.known["label"][row] for row in first]},
            places=[texts.places[row] for row in first],
        )

    def setup(self, stage: str | None = None) -> None:
        """As of its base; the bank is the labelled texts, each once."""
        if not hasattr(self, "train_set"):
            super().setup(stage)
            self._bank = PlainTexts(self.texts["train"])

    def predict_dataloader(self) -> DataLoader[Any]:
        """The texts of the test split, with their labels."""
        self._held("test")  # says so where there is none
        return self._loader(PlainTexts(self.texts["test"]))

    @property
    def corpus_dataloader(self) -> Any:
        """Texts with labels are classified, not searched."""
        raise AttributeError("labelled texts have no documents to search")


def _of_classes(rows: TextRows, number: dict[int, int]) -> TextRows:
    kept = [row for row, label in enumerate(rows.known["label"]) if label in number]
    taken = rows.take(kept)
    known = {"label": [number[label] for label in taken.known["label"]]}
    return TextRows(query=taken.query, known=known, places=taken.places)
