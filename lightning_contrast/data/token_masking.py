"""Views of texts and code whose words are masked, or replaced by what kind of word they are."""

import io
import keyword
import random
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from typing import Literal

from lightning_contrast.data.text_views import TextView

KINDS = ("keyword", "name", "number", "string", "operator", "comment")
_NAMES = {
    tokenize.NUMBER: "number", tokenize.STRING: "string", tokenize.OP: "operator", tokenize.COMMENT: "comment",
}  # fmt: skip
_LAYOUT = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)


class WordMasking(TextView):
    """Each word becomes the marker with probability `rate`.

    Args:
        rate: in [0, 1].
        marker: ``[MASK]`` is a token that every ``TextTokenizer`` knows.

    Raises:
        ValueError: for a rate out of range.
    """

    def __init__(self, rate: float = 0.15, marker: str = "[MASK]") -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate}: must lie in [0, 1].")
        self.rate, self.marker = rate, marker

    def change(self, words: list[str]) -> list[str]:
        """As many words."""
        return [self.marker if random.random() < self.rate else word for word in words]


class CodeMasking(WordMasking):
    """The same for the tokens of Python code, which become the marker or their kind (Shi et al., CoCoSoDa, ICSE 2023).

    Args:
        rate: in [0, 1].
        by: what stands in their place: ``mask``, the marker; ``kind``, the word keyword, name, number, string, operator or
            comment.
        kinds: only tokens of these kinds; ``None`` is all.
        marker: as of :class:`WordMasking`.

    Raises:
        ValueError: for a rate out of range, and names that there are not.

    Example:
        >>> CodeMasking(1.0, "kind")("def f(x): return x + 1")
        'keyword name operator name operator operator keyword name operator number'
    """

    def __init__(
        self,
        rate: float = 0.15,
        by: Literal["mask", "kind"] = "mask",
        kinds: Sequence[str] | None = None,
        marker: str = "[MASK]",
    ) -> None:
        super().__init__(rate, marker)
        if by not in ("mask", "kind"):
            raise ValueError(f"by={by!r}: use 'mask' or 'kind'.")
        if isinstance(kinds, str) or set(kinds or ()) - set(KINDS):
            raise ValueError(f"kinds={kinds!r}: a list out of {', '.join(KINDS)}.")
        self.by, self.kinds = by, None if kinds is None else tuple(kinds)

    def __call__(self, text: str) -> str:
        """Tokens with blanks between them; a text that is no code is taken word by word."""
        out = []
        for token, kind in tokens_of(text):
            gone = (self.kinds is None or kind in self.kinds) and random.random() < self.rate
            out.append(token if not gone else self.marker if self.by == "mask" else kind)
        return " ".join(out) if out else super().__call__(text)


def tokens_of(code: str) -> Iterator[tuple[str, str]]:
    """Tokens of Python code with their kind; of code that is cut off or wrong as far as it can be read, then its words as names.

    Example:
        >>> list(tokens_of("if x: "))
        [('if', 'keyword'), ('x', 'name'), (':', 'operator')]
    """
    text, end = textwrap.dedent(code), (1, 0)
    try:
        for one in tokenize.generate_tokens(io.StringIO(text).readline):
            if one.type == tokenize.NAME:
                yield one.string, "keyword" if keyword.iskeyword(one.string) else "name"
            elif (
                one.string.strip() and one.type not in _LAYOUT
            ):  # marks that Python has not, and parts of f-strings (3.12)
                yield (
                    one.string,
                    _NAMES.get(one.type, "string" if "STRING" in tokenize.tok_name[one.type] else "operator"),
                )
            end = one.end
    except (tokenize.TokenError, SyntaxError):
        rest = text.splitlines()[end[0] - 1 :]
        for word in " ".join([rest[0][end[1] :], *rest[1:]] if rest else []).split():
            yield word, "name"
