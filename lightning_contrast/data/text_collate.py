"""Batches of texts as token numbers, as wide as their longest text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_contrast.data.tokenizer import TextTokenizer
from lightning_contrast.data.words import word_table

Tokens = Callable[[Sequence[str]], Any]


class TextCollate:
    """The collate function of items that hold texts.

    Args:
        tokens: texts to what the encoder takes.
        query_prompt: put before every text of ``query``, ``input`` and ``views``.
        document_prompt: put before every text of ``document`` and ``negative``.
    """

    def __init__(self, tokens: TextTokenizer | Tokens, query_prompt: str = "", document_prompt: str = "") -> None:
        self.tokens = tokens
        self.prompts = {
            "query": query_prompt, "input": query_prompt, "views": query_prompt, "document": document_prompt,
            "negative": document_prompt,
        }  # fmt: skip

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Views of one width, so that they share a forward pass; negatives as N * H rows; numbers as tensors ``[N]``."""
        out: dict[str, Any] = {}
        for name in items[0]:
            values = [item[name] for item in items]
            if name == "views":
                together = self.tokens(
                    [self.prompts[name] + text for view in zip(*values, strict=True) for text in view]
                )
                out[name] = parts_of(together, len(values[0]))
            elif name == "negative":
                out[name] = self.tokens([self.prompts[name] + text for texts in values for text in texts])
            elif name in self.prompts:
                out[name] = self.tokens([self.prompts[name] + text for text in values])
            else:
                out[name] = torch.tensor(values, dtype=torch.float32 if isinstance(values[0], float) else torch.int64)
        return out

    def for_words(self) -> "TextCollate":
        """The same texts, without prompts, as numbers of whole words ``[N, L]``: what BM25 reads."""
        return TextCollate(_whole_words)


def _whole_words(texts: Sequence[str]) -> Tensor:
    return word_table(texts, 2**22, 512)


def parts_of(tokens: Any, count: int) -> list[Any]:
    """Rows in `count` equal parts."""
    if isinstance(tokens, Tensor):
        return list(tokens.chunk(count))
    chunks = {name: value.chunk(count) for name, value in tokens.items()}
    return [{name: value[part] for name, value in chunks.items()} for part in range(count)]


def word_rows(loader: DataLoader[Any], name: str) -> tuple[Tensor, Tensor]:
    """What BM25 reads of a loader's texts: word numbers ``[N, L]``, filled up with 0, and ``document_id`` ``[N]``."""
    collate: Any = loader.collate_fn
    if hasattr(collate, "for_words"):  # an encoder's pieces of words would do BM25 wrong
        loader = DataLoader(loader.dataset, loader.batch_size, collate_fn=collate.for_words())
    rows, ids = zip(*((batch[name], batch["document_id"]) for batch in loader), strict=True)
    width = max(part.shape[1] for part in rows)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in rows]), torch.cat(ids)
