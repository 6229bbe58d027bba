"""Verses of three Bibles as a DataModule of texts: the same in other words, in another language, and what follows."""

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_contrast.data.debian import DataNotFoundError, debian_package_path
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows

VerseTask = Literal["paraphrase", "translation", "neighbours", "single"]
Place = tuple[str, int, int]
PACKAGES = {"engKJV2006eb": "sword-text-kjv", "engWEB2015eb": "sword-text-web", "spaRV1909eb": "sword-text-sparv"}
KING_JAMES, WORLD, SPANISH = PACKAGES


class VerseDataModule(TextDataModule):
    """The New Testament, verse by verse: some 7,950 of them, aligned by book, chapter and verse; texts in the public domain.

    - ``paraphrase``: the King James Version asks for the World English Bible.
    - ``translation``: the King James Version asks for Reina and Valera's Spanish one of 1909.
    - ``neighbours``: a verse of the King James Version asks for the next one of its chapter.
    - ``single``: verses of the King James Version alone, in their order, for objectives that know neighbours by ``place``.

    ``label`` is the book, ``place`` the number of the verse from the beginning, ``chapter`` that
    of its chapter. Splits are by chapter. Needs ``pip install
    lightning-contrast[verses]``.

    Args:
        task: see above.
        root: folder with ``mods.d`` and ``modules`` of the SWORD project that hold the three; None fetches them with apt,
            without root, into the cache.
        subset: how many verses of all splits together, by a hash of their chapter; None is all.
        cache_dir: where fetched files are kept; None is ``$LIGHTNING_CONTRAST_DATA`` or ``~/.cache/lightning_contrast``.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        DataNotFoundError: if `root` lacks a Bible, or there is no apt.
        ImportError: without ``pysword``.
        ValueError: for a task that there is not, or numbers out of range.
    """

    def __init__(
        self,
        task: VerseTask = "paraphrase",
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        if task not in get_args(VerseTask):
            raise ValueError(f"task={task!r}: must be one of {', '.join(get_args(VerseTask))}.")
        if subset is not None and subset < 1:
            raise ValueError(f"subset={subset}: must be at least 1.")
        self.task: VerseTask = task
        self.both_ways = task in ("paraphrase", "translation")
        """Whether `evaluate` also lets the two sides search each other, and says how well they agree."""
        self.root, self.subset, self.cache_dir = root, subset, cache_dir

    def prepare_data(self) -> None:
        """Fetches once per machine, before other processes look."""
        for name in (KING_JAMES, self._other()):
            find_bible(name, self.root, self.cache_dir)

    def _other(self) -> str:
        return {"paraphrase": WORLD, "translation": SPANISH, "neighbours": KING_JAMES, "single": KING_JAMES}[self.task]

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split; no further documents."""
        ours = read_verses(KING_JAMES, self.root, self.cache_dir)
        theirs = ours if self._other() == KING_JAMES else read_verses(self._other(), self.root, self.cache_dir)
        self.source = f"{len(ours)} verses of the New Testament ({self.task})"
        places = list(ours)
        ahead = 1 if self.task == "neighbours" else 0
        pairs = [(place, (place[0], place[1], place[2] + ahead)) for place in places]
        pairs = [(place, answer) for place, answer in pairs if answer in theirs]
        books = list(dict.fromkeys(book for book, _, _ in places))
        order = {place: number for number, place in enumerate(places)}
        chapters = [f"{book} {chapter}" for (book, chapter, _), _ in pairs]
        number = {name: at for at, name in enumerate(dict.fromkeys(chapters))}
        rows = TextRows(
            query=[ours[place] for place, _ in pairs],
            document=[] if self.task == "single" else [theirs[answer] for _, answer in pairs],
            known={
                "label": [books.index(place[0]) for place, _ in pairs],
                "place": [order[place] for place, _ in pairs],
                "chapter": [number[name] for name in chapters],
            },
            places=[f"{book} {chapter}:{verse}" for (book, chapter, verse), _ in pairs],
        )
        chosen = first_by_hash(chapters, self.subset)
        return in_parts(rows.take(chosen), [chapters[row] for row in chosen]), {}


def find_bible(
    name: str, root: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> Path:
    """The folder of SWORD that holds this Bible.

    Raises:
        DataNotFoundError: if `root` lacks it, or its package cannot be fetched.
    """
    folder = Path(root) if root is not None else debian_package_path(PACKAGES[name], cache_dir) / "usr/share/sword"
    if not (folder / "mods.d" / f"{name}.conf").is_file():
        raise DataNotFoundError(
            f"the folder {folder} has no mods.d/{name}.conf (root=None fetches Debian's package {PACKAGES[name]})."
        )
    return folder


def read_verses(
    name: str, root: str | os.PathLike[str] | None = None, cache_dir: str | os.PathLike[str] | None = None
) -> dict[Place, str]:
    """Verses of the New Testament by book, chapter and verse, in their order; empty ones are left out.

    Raises:
        ImportError: without ``pysword``.
        DataNotFoundError: see :func:`find_bible`.
    """
    try:
        from pysword.modules import SwordModules
    except ImportError as error:
        raise ImportError('verses need the package pysword: pip install "lightning-contrast[verses]"') from error
    found = SwordModules(str(find_bible(name, root, cache_dir)))
    found.parse_modules()
    bible = found.get_bible_from_module(name)
    out: dict[Place, str] = {}
    for book in bible.get_structure().get_books()["nt"]:
        for chapter in range(1, book.num_chapters + 1):
            for verse in range(1, book.chapter_lengths[chapter - 1] + 1):
                text = cleaned(bible.get(books=[book.name], chapters=[chapter], verses=[verse]))
                if text:
                    out[book.name, chapter, verse] = text
    return out


def cleaned(text: str) -> str:
    """Without paragraph marks, footnotes' leftovers in brackets, and double blanks."""
    return " ".join(re.sub(r"[¶\[\]]", " ", text).split())
