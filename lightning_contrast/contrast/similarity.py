"""How alike an anchor and a candidate are: the base class, and cosine, the default."""

import torch
from torch import Tensor, nn

Embedding = Tensor | tuple[Tensor, ...]


def wide(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 if one of them is, else float32."""
    return torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32


class Similarity(nn.Module):
    """A similarity is a preparation of each side, done once, and a function of a tile.

    The base class is the dot product. Subclasses override ``prepare`` (never with trained tensors: prepared keys are
    stored in queues), ``link`` (an elementwise function of the products) or, when the similarity is no function of
    products, ``tile``.
    """

    bound: float | None = None
    """Largest absolute value, where one is known: lets the engine skip the running maximum."""
    swappable: bool = True
    """``s(a, b) == s(b, a)``."""

    @property
    def is_product(self) -> bool:
        """Whether a tile is exactly the matrix product of the prepared sides (the fast paths need that)."""
        return type(self).tile is Similarity.tile and type(self).link is Similarity.link

    def prepare(self, z: Embedding) -> Embedding:
        """Applied once to each block. ``z: [..., D]``."""
        return z

    def link(self, products: Tensor) -> Tensor:
        """Elementwise function of the products ``[n, m]``."""
        return products

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``a: [n, D]`` against ``b: [m, D]``, or groups of anchors against their own ``b: [g, m, D]``, ``g`` dividing ``n``.

        Returns ``[n, m]``, float32 or wider.
        """
        if isinstance(a, tuple) or isinstance(b, tuple):
            raise TypeError(
                f"{type(self).__name__} compares single tensors, but the embeddings are tuples: choose a similarity "
                "made for them (MaxSim for token embeddings with a mask)."
            )
        # A product rounded to half precision and then divided by a small temperature would be off by whole units.
        a, b = a.to(wide(a, b)), b.to(wide(a, b))
        return self.link(a @ b.mT if b.dim() == 2 else (a.unflatten(0, (b.shape[0], -1)) @ b.mT).flatten(0, 1))

    def transpose(self) -> "Similarity":
        """The same similarity with the roles of anchor and candidate exchanged."""
        return self if self.swappable else Transposed(self)


class Transposed(Similarity):
    """Another similarity with its roles exchanged."""

    swappable = False

    def __init__(self, inner: Similarity) -> None:
        super().__init__()
        self.inner = inner
        self.bound = inner.bound

    def prepare(self, z: Embedding) -> Embedding:
        """As the inner similarity's."""
        return self.inner.prepare(z)

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """The transposed tile of the inner similarity; private candidates are refused."""
        first = b[0] if isinstance(b, tuple) else b
        if first.dim() > (a[0] if isinstance(a, tuple) else a).dim():
            raise ValueError(f"{type(self.inner).__name__} cannot be reversed over private candidates.")
        return self.inner.tile(b, a).mT

    def transpose(self) -> Similarity:
        """Back to the inner similarity."""
        return self.inner


class Cosine(Similarity):
    """Cosine of the angle between anchor and candidate, in [-1, 1].

    Zero vectors (norm < 1e-12) have similarity 0 with everything, and gradient 0. Unit rows are float32 or wider: rounded
    to half precision they would be off by as much as their input already is.
    """

    bound = 1.0

    def prepare(self, z: Embedding) -> Embedding:
        """Rows to unit length; the norm is taken in float32 or wider."""
        if isinstance(z, tuple):
            return (self._unit(z[0]), *z[1:])
        return self._unit(z)

    @staticmethod
    def _unit(z: Tensor) -> Tensor:
        z = z.to(wide(z))
        norm = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        # A dead row keeps no gradient; dividing by a small constant instead would give it one of 1e12.
        return z / norm.masked_fill(norm < 1e-12, torch.inf)


class Dot(Similarity):
    """Inner product, unbounded: temperature and norms share the scale."""
