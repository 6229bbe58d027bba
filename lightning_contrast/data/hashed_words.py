"""Texts as hashed words: a tokenizer that learns nothing, keeps nothing and needs no further package."""

from collections.abc import Iterable, Sequence

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_contrast.data.words import word_table


class HashedWords:
    """The words of a text as numbers, for :class:`~lightning_contrast.encoders.BagOfWords`.

    Args:
        words: numbers there are, >= 2, as many as the encoder has; a word's is its checksum, so that some words share one.
        length: words of a text at most, >= 1; what is longer is cut, counted, and told of once.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> HashedWords(words=100)(["a dog", "a"]).shape
        torch.Size([2, 2])
    """

    ready = True
    """There is no vocabulary to learn."""

    def __init__(self, words: int = 32768, length: int = 96) -> None:
        if words < 2 or length < 1:
            raise ValueError(f"words={words}, length={length}: need at least 2 words (0 fills up) and a length of 1.")
        self.words, self.length = words, length
        self.texts = 0
        """Texts read in this process."""
        self.cut = 0
        """Those of them that were longer than ``length``."""

    def learn(self, texts: Iterable[str]) -> None:
        """Nothing to learn."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Word numbers, int32 ``[N, L]``, filled up with 0."""
        found = word_table(texts, self.words, self.length + 1)  # a word more tells who is cut
        cut = int((found[:, self.length :] != 0).sum())
        self.texts += len(texts)
        if cut and not self.cut:
            rank_zero_warn(
                f"{cut} of the first {self.texts} texts have more than length={self.length} words; what is behind them is not "
                "read. Further ones are counted (tokenizer.cut), not told of."
            )
        self.cut += cut
        return found[:, : self.length].contiguous()
