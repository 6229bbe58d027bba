"""Whether analogies are parallel lines: offsets of word pairs of one relation."""

import torch
from torch import Tensor
from torch.nn import functional as F


def offset_similarity(one: Tensor, two: Tensor) -> Tensor:
    """Mean cosine of the offsets ``b_i - a_i`` of a relation's pairs, over ``i < j``; 1 where all are parallel.

    Fournier, Dupoux and Dunbar, "Analogies minus analogy test" (CoNLL 2020), section 4.

    Args:
        one: the pairs' first words, ``[P, D]``, P >= 2.
        two: their second words.

    Raises:
        ValueError: for fewer pairs.
    """
    cosine = _cosines(one, two)
    return cosine.mean()


def pairing_consistency(one: Tensor, two: Tensor, permutations: int = 50, seed: int = 0) -> Tensor:
    """AUC by which the offsets' cosines of true pairs stand above those of shuffled pairs; 0.5 is none, 1 all.

    Fournier, Dupoux and Dunbar (CoNLL 2020), section 4: the mean over permutations of the second words.

    Args:
        one: ``[P, D]``, P >= 2.
        two: the same.
        permutations: >= 1.
        seed: of the permutations.

    Raises:
        ValueError: for fewer pairs or permutations.
    """
    if permutations < 1:
        raise ValueError(f"permutations={permutations}: must be at least 1.")
    true, found = _cosines(one, two), []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(permutations):
        false = _cosines(one, two[torch.randperm(len(two), generator=generator).to(two.device)])
        gap = true[:, None] - false[None]
        found.append((gap > 0).double().mean() + (gap == 0).double().mean() / 2)
    return torch.stack(found).mean()


def analogy_accuracy(z: Tensor, quadruples: Tensor) -> Tensor:
    """3CosAdd: how often ``b - a + c`` is nearest to ``d`` among all words but the three (Mikolov et al. 2013).

    Args:
        z: vectors of words, ``[W, D]``.
        quadruples: rows ``a, b, c, d`` of word numbers, int64 ``[Q, 4]``.
    """
    unit = F.normalize(z, dim=1)
    a, b, c, d = quadruples.unbind(1)
    scores = (unit[b] - unit[a] + unit[c]) @ unit.mT
    scores = scores.scatter(1, quadruples[:, :3], -torch.inf)
    return (scores.argmax(1) == d).double().mean()


def _cosines(one: Tensor, two: Tensor) -> Tensor:
    if len(one) < 2 or one.shape != two.shape:
        raise ValueError(
            f"pairs of shapes {list(one.shape)} and {list(two.shape)}: need equal ones, of at least 2 pairs."
        )
    offsets = F.normalize(two - one, dim=1)
    i, j = torch.triu_indices(len(one), len(one), 1, device=one.device)
    return (offsets[i] * offsets[j]).sum(1)
