"""Is much of the texts left unread?"""

from collections.abc import Iterator

from lightning_contrast.cli.doctor.finding import Finding
from lightning_contrast.cli.doctor.observation import Observation

MUCH = 0.25  # of the texts
LEAST = 8


def check(seen: Observation) -> Iterator[Finding]:
    """``texts-cut``, by what the tokenizer counted in this process."""
    tokenizer = getattr(seen.data, "tokenizer", None)
    texts, cut = getattr(tokenizer, "texts", 0), getattr(tokenizer, "cut", 0)
    if texts < LEAST or cut <= MUCH * texts:
        return
    name = "length" if hasattr(tokenizer, "length") else "max_length"
    yield Finding(
        "texts-cut",
        "warning",
        f"{cut / texts:.0%} of {texts} texts are longer than {name}={getattr(tokenizer, name)} and end there",
        "What stands behind is never read: texts that differ only there are the same to the encoder, and pushed apart.",
        f"--data.tokenizer.{name}, as far as the encoder reads; or shorter passages",
    )
