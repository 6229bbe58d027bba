"""Batches of texts as token numbers, as wide as their longest text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.tokenizer import TextTokenizer
from lightning_contrast.data.words import word_table

SIDES = {"query": 0, "query_view": 0, "input": 0, "views": 0, "document": 1, "document_view": 1, "negative": 1}
"""Texts of an item, and whose prompt is put before them: the query's or the document's."""
Tokens = Callable[[Sequence[str]], Any]


class TextCollate:
    """The collate function of items that hold texts.

    Args:
        tokens: texts to what the encoder takes.
        query_prompt: put before every text of ``query``, ``query_view``, ``input`` and ``views``.
        document_prompt: put before every text of ``document``, ``document_view`` and ``negative``.
        by_source: the two prompts of each data set of a mixture; for items that say their ``source``.
        include_prompt: whether the tokens of prompts are pooled with those of the text.
        domain: which number of an item is put beside the tokens of its texts, as ``domain``; ``None`` puts none.

    Raises:
        ValueError: for prompts that are not pooled, or a domain, where `tokens` is no ``TextTokenizer``.
    """

    def __init__(
        self,
        tokens: TextTokenizer | Tokens,
        query_prompt: str = "",
        document_prompt: str = "",
        by_source: Sequence[tuple[str, str]] = (),
        include_prompt: bool = True,
        domain: str | None = None,
    ) -> None:
        if not isinstance(tokens, TextTokenizer) and (not include_prompt or domain is not None):
            raise ValueError(
                f"include_prompt={include_prompt}, domain={domain!r}: {type(tokens).__name__} gives no mapping to put them into: use "
                "a TextTokenizer."
            )
        self.tokens, self.include_prompt, self.domain = tokens, include_prompt, domain
        self.prompts, self.by_source = (query_prompt, document_prompt), by_source

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Views of one width, so that they share a forward pass; negatives as N * H rows; numbers as tensors ``[N]``.

        Raises:
            TextDataError: for items with different numbers of negatives.
        """
        widths = {len(item.get("negative", ())) for item in items}
        if len(widths) > 1:
            raise TextDataError(f"rows with {sorted(widths)} negatives cannot share a batch; give all rows as many.")
        out: dict[str, Any] = {}
        for name in items[0]:
            values = [item[name] for item in items]
            if name in SIDES:
                prompts = [self._prompts(item)[SIDES[name]] for item in items]
                domains = [0 if self.domain is None else item[self.domain] for item in items]
                if name == "views":
                    rows = [
                        row for view in zip(*values, strict=True) for row in zip(view, prompts, domains, strict=True)
                    ]
                    out[name] = parts_of(self.read(*zip(*rows, strict=True)), len(values[0]))
                else:
                    several = values if name == "negative" else [[text] for text in values]
                    known = zip(several, prompts, domains, strict=True)
                    rows = [(text, prompt, domain) for texts, prompt, domain in known for text in texts]
                    out[name] = self.read(*zip(*rows, strict=True))
            else:
                out[name] = torch.tensor(values, dtype=torch.float32 if isinstance(values[0], float) else torch.int64)
        return out

    def read(self, texts: Sequence[str], prompts: Sequence[str], domains: Sequence[int] | None = None) -> Any:
        """Texts behind their prompts, as the encoder takes them."""
        asked = [prompt + text for text, prompt in zip(texts, prompts, strict=True)]
        if not isinstance(self.tokens, TextTokenizer):
            return self.tokens(asked)
        out = self.tokens(asked, None if self.include_prompt else [len(prompt) for prompt in prompts])
        known = {} if self.domain is None or domains is None else {"domain": torch.tensor(domains, dtype=torch.int64)}
        return {**out, **known}

    def _prompts(self, item: Mapping[str, Any]) -> tuple[str, str]:
        return self.by_source[item["source"]] if self.by_source and "source" in item else self.prompts

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
        loader = DataLoader(
            loader.dataset, loader.batch_size or 256, collate_fn=collate.for_words()
        )  # whole, even if shared
    rows, ids = zip(*((batch[name], batch["document_id"]) for batch in loader), strict=True)
    width = max(part.shape[1] for part in rows)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in rows]), torch.cat(ids)
