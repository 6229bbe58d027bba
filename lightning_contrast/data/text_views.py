"""Views of a text by changing its words. They draw from Python's generator, which the loader seeds for each sample."""

import random
from collections.abc import Sequence


class TextView:
    """Makes another text of the same meaning, or nearly; one text in, one out."""

    def __call__(self, text: str) -> str:
        """The changed text, never empty."""
        words = text.split()
        return " ".join(self.change(words)) if words else text

    def change(self, words: list[str]) -> list[str]:
        """The words of the new text, at least one."""
        raise NotImplementedError


class WordDeletion(TextView):
    """Each word is left out with probability `rate`; one stays at least.

    Args:
        rate: in [0, 1).

    Raises:
        ValueError: if it is out of range.
    """

    def __init__(self, rate: float = 0.1) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate}: must lie in [0, 1).")
        self.rate = rate

    def change(self, words: list[str]) -> list[str]:
        """Those that stay, in order."""
        kept = [word for word in words if random.random() >= self.rate]
        return kept or [random.choice(words)]


class WordReordering(TextView):
    """A stretch of words is shuffled.

    Args:
        share: length of the stretch, as a share of the words, in [0, 1].

    Raises:
        ValueError: if it is out of range.
    """

    def __init__(self, share: float = 0.3) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share={share}: must lie in [0, 1].")
        self.share = share

    def change(self, words: list[str]) -> list[str]:
        """The same words."""
        length = round(self.share * len(words))
        start = random.randint(0, len(words) - length)
        inner = words[start : start + length]
        random.shuffle(inner)
        return [*words[:start], *inner, *words[start + length :]]


class WordRepetition(TextView):
    """ESimCSE's: a few words are said twice, so that length no longer tells which texts belong together.

    Of N words ``d`` are repeated where they stand, ``d`` uniform in ``0 .. max(2, int(rate * N))`` and at most N
    (Wu et al. 2022, ESimCSE, equation 3); 0 with ``rate = 0``.

    Args:
        rate: in [0, 1].

    Raises:
        ValueError: if it is out of range.
    """

    def __init__(self, rate: float = 0.32) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate}: must lie in [0, 1].")
        self.rate = rate

    def change(self, words: list[str]) -> list[str]:
        """The same words, some of them twice."""
        most = min(max(2, int(self.rate * len(words))), len(words)) if self.rate else 0
        twice = set(random.sample(range(len(words)), random.randint(0, most)))
        return [word for place, one in enumerate(words) for word in ([one, one] if place in twice else [one])]


class WordCropping(TextView):
    """A stretch of consecutive words (Contriever's independent crops, taken of both views).

    Args:
        shortest: share of the words in the shortest stretch, in (0, 1].
        longest: in the longest, at most 1.

    Raises:
        ValueError: if they are out of range.
    """

    def __init__(self, shortest: float = 0.1, longest: float = 0.5) -> None:
        if not 0 < shortest <= longest <= 1:
            raise ValueError(f"shortest={shortest}, longest={longest}: need 0 < shortest <= longest <= 1.")
        self.shortest, self.longest = shortest, longest

    def change(self, words: list[str]) -> list[str]:
        """At least one word."""
        length = max(1, round(random.uniform(self.shortest, self.longest) * len(words)))
        start = random.randint(0, len(words) - length)
        return words[start : start + length]


class TextViewsInTurn(TextView):
    """Several changes one after the other, such as a crop of which words are left out.

    Args:
        views: the changes, the first one first.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, views: Sequence[TextView]) -> None:
        if not views:
            raise ValueError(f"views={list(views)}: give at least one, such as [WordCropping(), WordDeletion()].")
        self.views = list(views)

    def change(self, words: list[str]) -> list[str]:
        """What the last one leaves, at least one word."""
        for view in self.views:
            words = view.change(words)
        return words
