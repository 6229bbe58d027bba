"""What a teacher thinks of pairs, as scores, and its softmax as a target."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Pair, Scores
from lightning_contrast.targets.target import Target


class TeacherScore:
    """A teacher's score of each pair of a tile, any real number; ``-inf`` where it has none."""

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``."""
        raise NotImplementedError


class PairScore(TeacherScore):
    """A score of each anchor's own pair, from a column of the data.

    Args:
        key: payload of numbers, ``[N]``.
    """

    def __init__(self, key: str = "score") -> None:
        self.key = key

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``, ``-inf`` for whoever is not the anchor's own."""
        value: Tensor = getattr(pair.anchor, self.key).expand(pair.shape)
        return torch.where(pair.same("position"), value, -torch.inf)


class VectorScore(TeacherScore):
    """Inner products of vectors that a teacher made of both sides (``TeacherEmbedding``).

    Args:
        keys: payload with the vectors, ``[N, D]``; of several teachers the mean score counts.
        cosine: of vectors of unit length.

    Raises:
        ValueError: without keys.
    """

    def __init__(self, keys: Sequence[str] = ("teacher",), cosine: bool = True) -> None:
        if isinstance(keys, str) or not keys:
            raise ValueError(f"keys={keys!r}: give a list of at least one payload name.")
        self.keys, self.cosine = tuple(keys), cosine

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``."""
        return torch.stack([self._of(pair, key) for key in self.keys]).mean(0)

    def _of(self, pair: Pair, key: str) -> Tensor:
        score = pair.dot(key)
        if self.cosine:
            for side in (pair.anchor, pair.candidate):
                score = score / torch.linalg.vector_norm(getattr(side, key), dim=-1).clamp(min=1e-12)
        return score


class TeacherSoftmax(Target):
    """``exp((t_ij - max_j t_ij) / tau)``: in [0, 1]; divided by the mass of a row it is the teacher's softmax.

    Args:
        temperature: of the teacher, > 0.
        teacher: ``None`` is :class:`VectorScore`.

    Raises:
        ValueError: for a temperature <= 0.
    """

    def __init__(self, temperature: float = 1.0, teacher: TeacherScore | None = None) -> None:
        if not 0 < temperature < float("inf"):
            raise ValueError(f"teacher temperature={temperature}: must be a finite number > 0.")
        self.temperature, self.teacher = temperature, teacher if teacher is not None else VectorScore()

    def statistic(self, scores: Scores) -> Tensor:
        """The largest score of each row, ``[n]``."""
        return scores.read(self.teacher).masked_fill(~scores.exists, -torch.inf).amax(1)

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``."""
        assert pair.statistic is not None
        return torch.exp((self.teacher(pair) - pair.statistic).clamp(max=0) / self.temperature)
