"""Parts of texts as items of their own: marks, their tokens, and clauses of verses."""

import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.tokenizer import TextTokenizer
from lightning_contrast.data.verses import VerseDataModule

OPEN, CLOSE = "[[", "]]"
CLAUSE = re.compile(r"[^,;:.?!]*[^\W_][^,;:.?!]*")


class SpanTokenizer(TextTokenizer):
    """A ``TextTokenizer`` that knows marked parts: of ``he sang, [[and she left]]`` the whole is read, the part is pooled.

    Beside the tokens it gives ``pooling_mask``, by which ``TextEncoder`` pools. A text without marks, or whose marked part
    is behind ``max_length``, is pooled as a whole.

    Args:
        model: as of ``TextTokenizer``.
        vocab_size: as of ``TextTokenizer``.
        max_length: as of ``TextTokenizer``.
    """

    def __call__(self, texts: Sequence[str], unpooled: Sequence[int] | None = None) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` and ``pooling_mask``, int64 ``[N, L]`` each."""
        plain, spans = zip(*(without_marks(text) for text in texts), strict=True)
        out = super().__call__(plain, unpooled)
        told = self.fast(
            list(plain), padding="longest", truncation=True, max_length=self.max_length, return_offsets_mapping=True
        )
        place = torch.tensor(told["offset_mapping"], dtype=torch.int64)
        start, stop = torch.tensor(spans, dtype=torch.int64).T[..., None]
        inside = (place[..., 0] >= start) & (place[..., 1] <= stop) & (place[..., 1] > place[..., 0])
        chosen = inside & (stop >= 0) & (out["attention_mask"] != 0)
        none = ~chosen.any(1, keepdim=True)
        return {**out, "pooling_mask": torch.where(none, out.get("pooling_mask", out["attention_mask"]), chosen.long())}


def without_marks(text: str) -> tuple[str, tuple[int, int]]:
    """The text, and where the marked part begins and ends; (-1, -1) without marks.

    Example:
        >>> without_marks("a [[b]] c")
        ('a b c', (2, 3))
    """
    before, opened, rest = text.partition(OPEN)
    part, closed, behind = rest.partition(CLOSE)
    if not opened or not closed:
        return text, (-1, -1)
    return before + part + behind, (len(before), len(before) + len(part))


def marked_clauses(text: str) -> list[str]:
    """The text once for each of its clauses, which is marked; clauses end at punctuation.

    Example:
        >>> marked_clauses("He sang, and she left.")
        ['[[He sang]], and she left.', 'He sang,[[ and she left]].']
    """
    return [f"{text[: m.start()]}{OPEN}{m.group()}{CLOSE}{text[m.end() :]}" for m in CLAUSE.finditer(text)]


class VerseClauseDataModule(VerseDataModule):
    """Clauses of verses that two Bibles divide in as many: the k-th of one says what the k-th of the other does.

    Rows are in the order of the text, so that those of one verse are neighbours; ``label`` is the clause's number. A
    stand-in for propositions that a language model finds and compares (Chen et al., "Sub-Sentence Encoder", NAACL 2024).

    Args:
        task: ``paraphrase`` or ``translation``.
        root: as of ``VerseDataModule``.
        subset: how many verses of all splits together.
        cache_dir: as of ``VerseDataModule``.
        tokenizer: ``None`` learns from the training texts.
        **settings: as of ``TextDataModule``, but for its sources.

    Raises:
        ValueError: for another task, or a tokenizer that would read the marks as nothing.
    """

    def __init__(
        self,
        task: Literal["paraphrase", "translation"] = "paraphrase",
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        tokenizer: SpanTokenizer | None = None,
        **settings: Any,
    ) -> None:
        if task not in ("paraphrase", "translation"):
            raise ValueError(f"task={task!r}: clauses are compared between two Bibles: paraphrase or translation.")
        if not isinstance(tokenizer, SpanTokenizer | None):
            raise ValueError(f"tokenizer={type(tokenizer).__name__}: must be a SpanTokenizer, which reads marks.")
        super().__init__(task, root, subset, cache_dir, tokenizer=tokenizer or SpanTokenizer(), **settings)

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Pairs of clauses by split; no further documents."""
        splits, more = super().read()
        out, number = {}, 0
        for name, rows in splits.items():
            made = TextRows(known={"label": []})
            for query, document, place in zip(rows.query, rows.document, rows.places, strict=True):
                ours, theirs = marked_clauses(query), marked_clauses(document)
                if len(ours) == len(theirs) > 1:
                    made.query += ours
                    made.document += theirs
                    made.known["label"] += range(number, number + len(ours))
                    made.places += [place] * len(ours)
                    number += len(ours)
            if len(made):
                out[name] = made
        return out, more
