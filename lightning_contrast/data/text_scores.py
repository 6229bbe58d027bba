"""How alike two texts are, as a number."""

from lightning_contrast.data.words import words_of


class TextScore:
    """A score of two texts; any real number, 1 the most where a cosine is to follow it."""

    def __call__(self, one: str, two: str) -> float:
        """The score."""
        raise NotImplementedError


class WordOverlap(TextScore):
    """Words that both have over all words of the two, in [0, 1] (Jaccard): a stand-in for a model that reads them.

    Example:
        >>> WordOverlap()("a small dog", "a small wolf")
        0.5
    """

    def __call__(self, one: str, two: str) -> float:
        """1 for equal words, 0 without a common one."""
        a, b = set(words_of(one)), set(words_of(two))
        return len(a & b) / len(a | b) if a | b else 1.0
