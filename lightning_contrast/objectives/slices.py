"""Comparing by some of the dimensions of an embedding."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Similarity
from lightning_contrast.contrast.similarity import Embedding, wide


def narrowed(contrast: Contrast, part: slice) -> Contrast:
    """The same contrast of the dimensions ``part`` of every block; they are normalised anew.

    Raises:
        ValueError: for embeddings of several tensors.
    """

    def cut(block: Candidates) -> Candidates:
        if len(block.leaves) > 1:
            raise ValueError(f"Block {block.name!r} holds several tensors: dimensions are cut of single ones.")
        return block.replace(z=block.first[..., part], prepared=False)

    anchors = cut(contrast.anchors)
    blocks = tuple(anchors if b is contrast.anchors else cut(b) for b in contrast.candidates)
    return contrast.replace(anchors=anchors, candidates=blocks)


class PartCosine(Similarity):
    """Cosine of the dimensions ``part`` alone, whatever the blocks were prepared by.

    Args:
        part: which dimensions.
    """

    bound = 1.0

    def __init__(self, part: slice) -> None:
        super().__init__()
        self.part = part

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, m]``."""
        return super().tile(part_of(a, self.part), part_of(b, self.part))


def part_of(z: Embedding, part: slice) -> Tensor:
    """Some dimensions, of unit length (zero stays zero, without gradient). ``[..., d]``, float32 or wider."""
    z = (z[0] if isinstance(z, tuple) else z)[..., part]
    z = z.to(wide(z))
    dead = torch.linalg.vector_norm(z.detach(), dim=-1, keepdim=True) < 1e-12
    return F.normalize(torch.where(dead, z.detach() * 0, z), dim=-1)
