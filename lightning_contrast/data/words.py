"""Texts as rows of word numbers, by hashing: no vocabulary to learn, keep or lose."""

import re
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

WORD = r"[^\W_]+[+#]*"
"""Runs of letters and digits, and the signs behind them of ``c++`` and ``c#``."""


def words_of(text: str) -> list[str]:
    """Runs of letters and digits in lower case; ``c++`` and ``c#`` stay whole.

    Example:
        >>> words_of("C++ bindings (64-bit)")
        ['c++', 'bindings', '64', 'bit']
    """
    return re.findall(WORD, text.lower())


def word_table(texts: Sequence[str], words: int, length: int) -> Tensor:
    """The words of each text as numbers from 1 to ``words - 1``; 0 fills up.

    Args:
        texts: N of them.
        words: Numbers there are, >= 2; a word's is its checksum, so that some words share one.
        length: At most so many words of a text, >= 1; the first.

    Returns:
        int32 ``[N, length]``, or narrower if no text is that long.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> table = word_table(["a b a", ""], words=100, length=8)
        >>> table.shape, bool(table[0, 0] == table[0, 2] > 0), table[1].tolist()
        (torch.Size([2, 3]), True, [0, 0, 0])
    """
    if words < 2 or length < 1:
        raise ValueError(f"words={words}, length={length}: need at least 2 words (0 fills up) and a length of 1.")
    known: dict[str, int] = {}
    rows = [words_of(text)[:length] for text in texts]
    table = np.zeros((len(rows), max((len(row) for row in rows), default=0) or 1), np.int32)
    for place, row in enumerate(rows):
        for word in row:
            if word not in known:
                known[word] = 1 + zlib.crc32(word.encode()) % (words - 1)
        table[place, : len(row)] = [known[word] for word in row]
    return torch.from_numpy(table)
