"""WordNet as a DataModule of texts: find the word from its definition, broader meanings, graded nearness."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.wordnet import Synset, Tree, find_wordnet, read_wordnet

WordNetTask = Literal["definitions", "glosses", "hypernyms", "broader", "similarity"]
STEPS = 3
"""How far above a synset ``broader`` looks."""


class WordNetDataModule(TextDataModule):
    """WordNet 3.0, from Debian's package ``wordnet-base``: 117,659 synsets, of which those with a gloss of some words count.

    The tasks:

    - ``definitions``: the query is a gloss, its document the words it defines (``puppy, whelp``).
    - ``glosses``: glosses as single texts.
    - ``hypernyms``: the query is a gloss, its document the gloss of the broader meaning, its negative that of another
      meaning under the same: what entailment and contradiction are to SimCSE's supervised form.
    - ``broader``: the query is a gloss, its documents the glosses of the meanings one, two and three steps above it, with
      ``score`` 3, 2 and 1: graded relevance.
    - ``similarity``: two glosses of nouns or verbs, with ``score`` in [0, 1]: how near they are in the tree (Wu and Palmer); in a
      search those above 0.8 are relevant.

    ``label`` is the category of the first text's synset (0 to 44: animals, artefacts, motion, ...). Splits are by a hash;
    with ``definitions``, no query and no document is in two. Rows that are held out are in a drawn order, so that their
    batches have many categories, as those of training.

    Args:
        task: see above.
        root: folder with ``data.noun``, ``data.verb``, ``data.adj`` and ``data.adv``; None fetches them with apt, without
            root, into the cache.
        subset: how many rows of all splits together, the first by a hash; None is all.
        cache_dir: where fetched files are kept; None is ``$LIGHTNING_CONTRAST_DATA`` or ``~/.cache/lightning_contrast``.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        DataNotFoundError: if `root` lacks the files, or there is no apt.
        ValueError: for a task that there is not, or numbers out of range.
    """

    def __init__(
        self,
        task: WordNetTask = "definitions",
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> None:
        if task == "similarity":  # nearly all have something in common, which is not what is looked for
            settings.setdefault("relevant_above", 0.8)
        super().__init__(train=None, val=None, test=None, queries=None, documents=None, columns=None, **settings)
        if task not in get_args(WordNetTask):
            raise ValueError(f"task={task!r}: must be one of {', '.join(get_args(WordNetTask))}.")
        if subset is not None and subset < 1:
            raise ValueError(f"subset={subset}: must be at least 1.")
        self.task: WordNetTask = task
        self.root, self.subset, self.cache_dir = root, subset, cache_dir

    def prepare_data(self) -> None:
        """Fetches once per machine, before other processes look."""
        find_wordnet(self.root, self.cache_dir)

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split, or all as ``train``; no further documents."""
        folder = find_wordnet(self.root, self.cache_dir)
        synsets = read_wordnet(folder)
        self.source = f"WordNet, {len(synsets)} synsets in {folder}"
        make = {"definitions": _definitions, "glosses": _glosses, "hypernyms": _hypernyms, "broader": _broader,
                "similarity": _similarity}  # fmt: skip
        rows = make[self.task]([one for one in synsets if len(one.gloss.split()) > 1])
        keys = [plain(text) for text in rows.query]
        chosen = first_by_hash(keys, self.subset)
        cut = Counter(keys) - Counter(keys[row] for row in chosen)  # a list is there whole or not at all
        rows = rows.take([row for row in chosen if self.task != "broader" or keys[row] not in cut])
        if self.task == "definitions":  # neither queries nor documents in two splits
            return {"train": rows}, {}
        # documents are shared (all dogs are animals), so the queries alone are kept apart
        return _mixed(in_parts(rows, [plain(text) for text in rows.query])), {}

    def _split(self, rows: TextRows) -> dict[str, TextRows]:
        return _mixed(super()._split(rows))


def _mixed(parts: dict[str, TextRows]) -> dict[str, TextRows]:
    """What is held out, in a drawn order.

    WordNet's is by category, and training has no loss over a batch of one category; it shuffles anyway.
    """
    out = dict(parts)
    for name, rows in parts.items():
        if name != "train":
            out[name] = rows.take(random.Random(0).sample(range(len(rows)), len(rows)))
    return out


def _definitions(synsets: list[Synset]) -> TextRows:
    return _rows(
        [(one, one.gloss, ", ".join(one.words), None) for one in synsets],
        known={"label": [s.category for s in synsets]},
    )


def _glosses(synsets: list[Synset]) -> TextRows:
    return _rows([(one, one.gloss, None, None) for one in synsets], known={"label": [s.category for s in synsets]})


def _hypernyms(synsets: list[Synset]) -> TextRows:
    tree, drawn, found = Tree(synsets), random.Random(0), []
    for one in synsets:
        if one.broader and one.broader[0] in tree.synsets:
            up = tree.synsets[one.broader[0]]
            beside = [key for key in tree.below[up.key] if key != one.key]
            if beside:
                found.append((one, one.gloss, up.gloss, tree.synsets[drawn.choice(beside)].gloss))
    return _rows(found, known={"label": [one.category for one, *_ in found]})


def _broader(synsets: list[Synset]) -> TextRows:
    tree, found, score = Tree(synsets), [], []
    for one in synsets:
        for step, key in enumerate(tree.above(one.key)[1 : STEPS + 1], 1):
            found.append((one, one.gloss, tree.synsets[key].gloss, None))
            score.append(float(STEPS + 1 - step))
    return _rows(found, known={"label": [one.category for one, *_ in found], "score": score})


def _similarity(synsets: list[Synset]) -> TextRows:
    """Each with one of four others: its hypernym, one beside it, one of its category, any of its part of speech."""
    tree, drawn = Tree(synsets), random.Random(0)
    nouns_and_verbs = [one for one in synsets if one.key[0] in "nv"]
    by_kind = {kind: [one for one in nouns_and_verbs if one.key[0] == kind] for kind in "nv"}
    by_category: dict[int, list[Synset]] = {}
    for one in nouns_and_verbs:
        by_category.setdefault(one.category, []).append(one)
    found, score = [], []
    for one in nouns_and_verbs:
        up = next((key for key in one.broader if key in tree.synsets), None)
        if up is None:
            continue
        other = (
            tree.synsets[up],
            tree.synsets[drawn.choice(tree.below.get(up, [one.key]))],
            drawn.choice(by_category[one.category]),
            drawn.choice(by_kind[one.key[0]]),
        )[drawn.randrange(4)]
        found.append((one, one.gloss, other.gloss, None))
        score.append(tree.nearness(one.key, other.key))
    return _rows(found, known={"label": [one.category for one, *_ in found], "score": score})


def _rows(found: Sequence[tuple[Synset, str, str | None, str | None]], known: dict[str, list[Any]]) -> TextRows:
    documents = [document for _, _, document, _ in found if document is not None]
    negatives = [[negative] for *_, negative in found if negative is not None]
    return TextRows(
        query=[query for _, query, _, _ in found], document=documents, negative=negatives, known=known,
        places=[one.key for one, *_ in found],
    )  # fmt: skip
