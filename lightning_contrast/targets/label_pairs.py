"""How much two labels have in common: by vectors of their names, or by the trees they stand for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_contrast.contrast import Pair, Paired
from lightning_contrast.functional.by_index import looked_up, rows_by_index
from lightning_contrast.targets.target import Target

if TYPE_CHECKING:
    Vectors = str | Tensor
else:
    # What the command line offers; a type checker sees that a tensor may be passed from Python.
    Vectors = str


class LabelPairs(Target):
    """A number for each two labels, from a table; an item with a negative label has its own other view alone.

    Args:
        table: symmetric, ``[C, C]``, >= 0.
        key: payload of labels, integers.
    """

    swappable = True

    def __init__(self, table: Tensor, key: str = "label") -> None:
        self.table, self.key = table, key

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, >= 0."""
        a, b = (getattr(side, self.key) for side in (pair.anchor, pair.candidate))
        for label in (a, b):
            if label.numel() and int(label.max()) >= len(self.table):
                raise ValueError(
                    f"{type(self).__name__} knows {len(self.table)} labels, but {self.key!r} has {int(label.max())}: name "
                    "every label."
                )
        if self.table.device != a.device:
            self.table = self.table.to(a.device)
        known = ((a >= 0) & (b >= 0)).expand(pair.shape)
        found = self.table[a.clamp(min=0), b.clamp(min=0)].expand(pair.shape)
        return torch.where(known, found, Paired()(pair).to(found.dtype))


class LabelSimilarity(LabelPairs):
    """``exp((cos(e_a, e_b) - 1) / tau)`` of vectors of the labels' texts: divided by the mass of a row, its softmax.

    Burdisso et al., "Dialog2Flow" (EMNLP 2024), section 3.2: utterances whose actions are called alike are alike. ``tau -> 0``
    leaves equal labels, ``tau -> inf`` everybody.

    Args:
        names: texts of the labels ``0 .. C - 1``. Their vectors are counts of letter triples, a stand-in for a sentence
            encoder; "request price" and "request area" have something in common.
        vectors: or their vectors by an encoder, ``[C, D]``; a file of them by label.
        temperature: ``tau`` > 0; 0.35 and 0.25 are both seen.
        key: payload of labels; negative ones are no labels.

    Raises:
        ValueError: for a temperature <= 0, and unless one of names and vectors is given.

    Example:
        >>> found = LabelSimilarity(["request price", "request area", "bye"]).table
        >>> bool(found[0, 1] > found[0, 2])
        True
    """

    def __init__(
        self,
        names: Sequence[str] | None = None,
        vectors: Vectors | None = None,
        temperature: float = 0.35,
        key: str = "label",
    ) -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"temperature={temperature}: must be a finite number > 0 (0.35 in the paper).")
        if (names is None) == (vectors is None) or isinstance(names, str):
            raise ValueError("LabelSimilarity: give either names, a list of the labels' texts, or vectors of them.")
        if vectors is None:
            rows = triples(names or [])
        else:
            held, row = rows_by_index(vectors, "LabelSimilarity(vectors=...)")
            rows = looked_up(held.float(), row)
        unit = torch.nn.functional.normalize(rows, dim=1)
        super().__init__(((unit @ unit.mT - 1) / temperature).exp(), key)
        self.temperature = temperature


class TreeOverlap(LabelPairs):
    """Shared root-to-leaf paths over all paths of two labels' trees: their Jaccard index, in [0, 1].

    He et al., "SPACE-2" (COLING 2022), section 3.2, where the tree of a dialogue has its domains, intents, slots and values. 1
    for identical trees, 0 for disjoint ones; what has no label has its own other view alone.

    Sure: low for the exact score, a reconstruction.

    Args:
        paths: of each label ``0 .. C - 1``, at least one.
        key: payload of labels; negative ones are no labels.

    Raises:
        ValueError: for a label without paths.

    Example:
        >>> round(TreeOverlap([["a", "b"], ["b", "c"]]).table[0, 1].item(), 5)
        0.33333
    """

    def __init__(self, paths: Sequence[Sequence[str]], key: str = "label") -> None:
        trees = [set(one) for one in paths if not isinstance(one, str)]
        if not trees or len(trees) < len(paths) or not all(trees):
            raise ValueError(f"paths={list(paths)[:3]}...: give a list of at least one path for every label.")
        super().__init__(torch.tensor([[len(a & b) / len(a | b) for b in trees] for a in trees]), key)


def triples(names: Sequence[str]) -> Tensor:
    """Counts of letter triples of each name, lower case, edges counted, ``[C, D]``.

    Raises:
        ValueError: without names, or for an empty one.
    """
    if not names or not all(name.strip() for name in names):
        raise ValueError(f"names={list(names)}: give a text for every label, none of them empty.")
    words = [f" {' '.join(name.lower().split())} " for name in names]
    held = [[word[i : i + 3] for i in range(len(word) - 2)] for word in words]
    place = {triple: i for i, triple in enumerate(dict.fromkeys(t for one in held for t in one))}
    out = torch.zeros(len(names), len(place))
    for row, one in enumerate(held):
        for triple in one:
            out[row, place[triple]] += 1
    return out
