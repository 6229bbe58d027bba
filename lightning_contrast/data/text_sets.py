"""Texts as data sets: pairs with what is known of them, single texts, and documents to search."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from lightning_contrast.data.contrastive_dataset import ContrastiveDataset
from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.functional.judgements import Judgements


class TextPairs(Dataset[dict[str, Any]]):
    """``query``, ``document``, perhaps ``negative``, ``index``, and integers by which equal ones are known.

    ``negative_id`` are the ``document_id`` of the negatives; ``has_negative``, where some row lacks one, says which are there.

    Args:
        rows: pairs.
        query_id: number of each query; equal for equal texts.
        document_id: the same for documents.
        start: index of the first row.
    """

    def __init__(self, rows: TextRows, query_id: list[int], document_id: list[int], start: int = 0) -> None:
        self.rows, self.query_id, self.document_id, self.start = rows, query_id, document_id, start
        self.negative_id: list[list[int]] = []
        self.some_lack = any("" in texts for texts in rows.negative)

    def number_negatives(self, documents: "Numbers") -> None:
        """Once all documents have their numbers, gives negatives theirs; -1 for texts that are no document."""
        self.negative_id = [[documents.known(text) for text in texts] for texts in self.rows.negative]

    def judged(self, above: float = 0.0) -> tuple[list[int], Judgements]:
        """Rows of the different queries, and which documents are relevant to them: those with a score above `above`, which
        is their grade; where pairs have no scores, those of all their pairs, alike."""
        first: dict[int, int] = {}
        for row, number in enumerate(self.query_id):
            first.setdefault(number, row)
        place = {number: at for at, number in enumerate(first)}
        query = torch.tensor([place[number] for number in self.query_id], dtype=torch.int64)
        grade = torch.ones(len(query), dtype=torch.float64)
        if "score" in self.rows.known:
            score = torch.tensor(self.rows.known["score"], dtype=torch.float64)
            grade = torch.where(score > above, score, 0.0)
        document = torch.tensor(self.document_id, dtype=torch.int64)
        return list(first.values()), Judgements(query, document, grade, len(first))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        rows = self.rows
        negative: dict[str, Any] = {}
        if rows.negative and rows.negative[position]:
            negative["negative"] = rows.negative[position]
            if self.negative_id:
                negative["negative_id"] = self.negative_id[position]
            if self.some_lack:
                negative["has_negative"] = [int(bool(text)) for text in rows.negative[position]]
        return {
            "query": rows.query[position], "document": rows.document[position], **negative,
            "index": self.start + position, "query_id": self.query_id[position], "document_id": self.document_id[position],
            **{name: values[position] for name, values in rows.known.items()},
        }  # fmt: skip


class ViewedPairs(ContrastiveDataset):
    """Pairs that also have ``query_view`` and ``document_view``, altered copies; no view of a side is the side itself.

    Args:
        pairs: items with ``query`` and ``document``.
        views: of the query and of the document.
        seed: of the views.
        fixed: the same views in every epoch, for data that are held out.
    """

    def __init__(self, pairs: TextPairs, views: Sequence[Any], seed: int = 0, fixed: bool = False) -> None:
        super().__init__(pairs, views, seed=seed)
        self.rows, self.fixed, self.judged = pairs.rows, fixed, pairs.judged

    def _item(self, index: int, epoch: int | None) -> dict[str, Any]:
        item, at = self.dataset[index], 0 if self.fixed else epoch
        names = ("query", "document")
        return {**item, **{f"{name}_view": self._view(item[name], index, at, side) for side, name in enumerate(names)}}


class Documents(Dataset[dict[str, Any]]):
    """Different documents, each once: ``document``, ``index`` and ``document_id``; the latter two are equal.

    Args:
        texts: M of them, by number.
        source: number of the data set that each is of, in a mixture.
    """

    def __init__(self, texts: list[str], source: list[int] | None = None) -> None:
        self.texts, self.source = texts, source

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, position: int) -> dict[str, Any]:
        # a batch of the contract has two inputs
        text = self.texts[position]
        known = {} if self.source is None else {"source": self.source[position]}
        return {"query": text, "document": text, "index": position, "document_id": position, **known}


class PlainTexts(Dataset[dict[str, Any]]):
    """Single texts: ``input``, and ``label`` where known; `ContrastiveDataset` makes views of them.

    Args:
        rows: texts.
    """

    def __init__(self, rows: TextRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> dict[str, Any]:
        known = {name: values[position] for name, values in self.rows.known.items()}
        return {"input": self.rows.query[position], "index": position, **known}


class Numbers:
    """A number for each different text, in the order of first appearance; case and blanks make no difference."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def known(self, text: str) -> int:
        """The number of a text, -1 without one."""
        return self._numbers.get(plain(text), -1)

    def of(self, texts: list[str]) -> list[int]:
        """Numbers, known or new."""
        out = []
        for text in texts:
            number = self._numbers.setdefault(plain(text), len(self.texts))
            if number == len(self.texts):
                self.texts.append(text)
            out.append(number)
        return out


def groups_of(first: list[int], second: list[int]) -> list[int]:
    """A group of each row: rows that share a number of the first or the second kind, directly or through others.

    Example:
        >>> groups_of([0, 1, 1, 2], [5, 5, 6, 7])
        [0, 0, 0, 3]
    """
    above = list(range(len(first)))

    def root(row: int) -> int:
        while above[row] != row:
            above[row] = row = above[above[row]]
        return row

    for kind in (first, second):
        seen: dict[int, int] = {}
        for row, number in enumerate(kind):
            low, high = sorted((root(row), root(seen.setdefault(number, row))))
            above[high] = low
    return [root(row) for row in range(len(first))]
