"""The base of every transform, and how several are applied one after the other."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn


class Transform(nn.Module):
    """Changes the embeddings of a batch, between head and objective: ``z: [V, N, D] -> [V', N, D']``.

    ``V`` views of ``N`` samples; a side of pairs has one view. Unlike a head, a transform sees the whole batch, after
    chunks were put together, and also what a teacher or second tower made. Evaluation and prediction know nothing of it.
    """

    def forward(self, z: Tensor) -> Tensor:
        """One side of the comparison, ``[V, N, D] -> [V', N, D']``."""
        raise NotImplementedError

    def both(self, anchors: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Anchors and keys, where they are two sides (teacher, predictor, pairs). Each on its own unless overridden.

        Args:
            anchors: ``[V, N, D]``.
            keys: ``[K, M, D]``; the first ``N`` rows are the partners of the anchors, explicit negatives follow. Keys
                without gradient stay without.
        """
        return self(anchors), _as_before(self(keys), keys)


if TYPE_CHECKING:
    TransformLike = nn.Module | list[nn.Module]
else:
    # What the command line offers; a type checker sees that any module may be passed from Python.
    TransformLike = Transform | list[Transform]


def in_order(transform: TransformLike | None) -> nn.ModuleList:
    """One transform, several or none, as a list of modules.

    Raises:
        TypeError: for what is no module.
    """
    given = [] if transform is None else list(transform) if isinstance(transform, Iterable) else [transform]
    for one in given:
        if not isinstance(one, nn.Module):
            what = f"the class {one.__name__}, not an instance of it" if isinstance(one, type) else repr(one)
            raise TypeError(f"transform must be a Transform, any nn.Module, or a list of them, got {what}.")
    return nn.ModuleList(given)


def transformed(transforms: Iterable[nn.Module], anchors: Tensor, keys: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Anchors ``[V, N, D]`` and keys ``[K, M, D]`` through each; without keys, the first result counts."""
    for one in transforms:
        if keys is None:
            anchors = one(anchors)
        elif isinstance(one, Transform):
            anchors, keys = one.both(anchors, keys)
        else:
            anchors, keys = one(anchors), _as_before(one(keys), keys)
    return anchors, anchors if keys is None else keys


def transformed_pairs(
    transforms: nn.ModuleList, anchors: Tensor, positives: Tensor, negatives: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The same of pairs ``[N, D]`` with perhaps explicit negatives ``[M, D]``, which are keys as the positives are."""
    if not len(transforms):
        return anchors, positives, negatives  # whatever they are: tokens and mask, for instance
    n = len(positives)
    keys = positives if negatives is None else torch.cat([positives, negatives])
    (anchors,), (keys,) = transformed(transforms, anchors[None], keys[None])
    return anchors, keys[:n], None if negatives is None else keys[n:]


def _as_before(after: Tensor, before: Tensor) -> Tensor:
    """A teacher's embeddings get no gradient by a trained transform either."""
    return after if before.requires_grad else after.detach()
