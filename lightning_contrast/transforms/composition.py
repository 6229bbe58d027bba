"""A whole beside what its parts make."""

from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.transforms.transform import Transform


class Composition(Transform):
    """The first view stays, the others are composed into its positive: ``[V, N, D] -> [2, N, D]``.

    Chanchani and Huang, "Composition-contrastive Learning for Sentence Embeddings" (ACL 2023), section 3.1: a text is near to
    what the embeddings of its two halves make. They are composed before they are normalised; gradients reach all parts.

    Args:
        how: ``mean``; ``max``, entry by entry; or ``cat``: of P parts each gives its own stretch of the dimensions, the first
            part the first of them.

    Raises:
        ValueError: for another way; in use for a width that the parts do not divide.

    Example:
        >>> z = torch.tensor([[[1.0, 1.0]], [[1.0, 2.0]], [[3.0, 4.0]]])     # a text, its first half, its second half
        >>> Composition("mean")(z)[1], Composition("cat")(z)[1]
        (tensor([[2., 3.]]), tensor([[1., 4.]]))
    """

    def __init__(self, how: Literal["mean", "max", "cat"] = "mean") -> None:
        super().__init__()
        if how not in ("mean", "max", "cat"):
            raise ValueError(f"how={how!r}: use 'mean', 'max' or 'cat'.")
        self.how = how

    def forward(self, z: Tensor) -> Tensor:
        """``[V, N, D] -> [2, N, D]``."""
        if len(z) == 1:  # a side of pairs, as in validation, has no parts
            return z
        whole, parts = z[0], z[1:]
        if self.how == "mean":
            made = parts.mean(0)
        elif self.how == "max":
            made = parts.amax(0)
        else:
            width, rest = divmod(z.shape[-1], len(parts))
            if rest:
                raise ValueError(f"Composition('cat'): width {z.shape[-1]} is no multiple of {len(parts)} parts.")
            made = torch.cat([part[:, i * width : (i + 1) * width] for i, part in enumerate(parts)], dim=1)
        return torch.stack([whole, made])
