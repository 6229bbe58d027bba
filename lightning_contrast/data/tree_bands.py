"""WordNet's glosses as triplets whose members lie at given ranks of nearness in the tree (SciNCL)."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_contrast.data.package_descriptions import plain
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.wordnet import Synset, find_wordnet, read_wordnet
from lightning_contrast.data.wordnet_datamodule import WordNetDataModule


class TreeBandDataModule(WordNetDataModule):
    """Of each gloss its neighbours by rank: a band of near ones are positives, a band farther away hard negatives.

    Ostendorff et al., "Neighborhood Contrastive Learning for Scientific Document Representations with Citation Embeddings"
    (SciNCL, EMNLP 2022, section 3): the neighbours of a document are ranked by a space that is given, there an embedding of
    the graph of citations, here WordNet's graph of broader and narrower meanings, by the number of steps. Positives are the
    ranks ``(positive_rank - positives, positive_rank]``, hard negatives ``(hard_rank - hard, hard_rank]``, easy ones any
    others; each positive makes a triplet with one of them.

    Args:
        positive_rank: last rank of the positives.
        positives: how many, of each gloss as many triplets, >= 1.
        hard_rank: last rank of the hard negatives; their band must lie behind that of the positives.
        hard: how many, in [0, positives]; the others are easy.
        root: folder of WordNet's files; None fetches them with apt, into the cache.
        subset: how many glosses are asked; None is all nouns and verbs.
        cache_dir: as of :class:`WordNetDataModule`.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        DataNotFoundError: if `root` lacks the files, or there is no apt.
        ValueError: for numbers out of range, or bands that overlap; in use where no gloss has so many neighbours.
    """

    def __init__(
        self,
        positive_rank: int = 25,
        positives: int = 5,
        hard_rank: int = 200,
        hard: int = 2,
        root: str | None = None,
        subset: int | None = None,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(task="glosses", root=root, subset=subset, cache_dir=cache_dir, **settings)
        if not 1 <= positives <= positive_rank or not 0 <= hard <= positives:
            raise ValueError(
                f"positives={positives}, positive_rank={positive_rank}, hard={hard}: need 1 <= positives <= positive_rank and "
                "0 <= hard <= positives."
            )
        if hard_rank - hard < positive_rank:
            raise ValueError(
                f"hard_rank={hard_rank}, hard={hard}: the hard negatives' ranks begin at {hard_rank - hard + 1}, those of the "
                f"positives end at {positive_rank}; a text must not be both."
            )
        self.positive_rank, self.positives, self.hard_rank, self.hard = positive_rank, positives, hard_rank, hard

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Triplets by split; no further documents."""
        folder = find_wordnet(self.root, self.cache_dir)
        synsets = {one.key: one for one in read_wordnet(folder) if len(one.gloss.split()) > 1}
        self.source = f"WordNet, {len(synsets)} synsets in {folder}"
        beside = neighbours(synsets)
        asked = [key for key in synsets if key[0] in "nv"]
        asked = [asked[row] for row in first_by_hash([plain(synsets[key].gloss) for key in asked], self.subset)]
        drawn, everybody, out = random.Random(self.seed), list(synsets), TextRows(known={"label": []})
        for key in asked:
            ranked = nearest_in_graph(beside, key, self.hard_rank)
            if len(ranked) < self.hard_rank:
                continue
            near = ranked[self.positive_rank - self.positives : self.positive_rank]
            far = ranked[self.hard_rank - self.hard :]
            known = {key, *ranked}
            while len(far) < self.positives:
                other = drawn.choice(everybody)
                if other not in known or len(known) == len(everybody):
                    far.append(other)
            drawn.shuffle(far)
            for one, other in zip(near, far, strict=True):
                out.query.append(synsets[key].gloss)
                out.document.append(synsets[one].gloss)
                out.negative.append([synsets[other].gloss])
                out.known["label"].append(synsets[key].category)
                out.places.append(key)
        if not len(out):
            raise ValueError(f"hard_rank={self.hard_rank}: no gloss has so many neighbours; lower it.")
        return in_parts(out, [plain(text) for text in out.query]), {}


def neighbours(synsets: Mapping[str, Synset]) -> dict[str, list[str]]:
    """Broader and narrower synsets of each."""
    beside: dict[str, list[str]] = {key: [] for key in synsets}
    for one in synsets.values():
        for up in one.broader:
            if up in synsets:
                beside[one.key].append(up)
                beside[up].append(one.key)
    return beside


def nearest_in_graph(beside: Mapping[str, Sequence[str]], key: str, count: int) -> list[str]:
    """The `count` nearest others by steps along the edges, or all that can be reached; ties as they are found.

    Example:
        >>> nearest_in_graph({"a": ["b"], "b": ["a", "c"], "c": ["b", "d"], "d": ["c"]}, "a", 2)
        ['b', 'c']
    """
    found: list[str] = []
    seen, border = {key}, [key]
    while border and len(found) < count:
        border = list(dict.fromkeys(one for at in border for one in beside[at] if one not in seen))
        seen.update(border)
        found += border
    return found[:count]
