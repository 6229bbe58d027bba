"""Functions of a user's, as a project would have them; each remembers what it was asked."""

ASKED: list[str] = []


def contradict(text: str) -> str | None:
    """Nothing to write where there is no bridge."""
    ASKED.append(text)
    return text.replace("bridge", "tower") if "bridge" in text else None


def agree(texts: list[str]) -> list[str]:
    """Many at once."""
    ASKED.extend(texts)
    return [text.replace("built", "made") for text in texts]


def alike(one: str, two: str) -> float:
    """By length."""
    ASKED.append(one)
    return min(len(one), len(two)) / max(len(one), len(two))


NOBODY = "no function"
