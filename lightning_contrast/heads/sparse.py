"""A sparse code: the largest few of many non-negative units."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from lightning_contrast.heads.head import Head, at_least_one


class SparseHead(LazyModuleMixin, Head):
    """``relu(top_k(W (x - c) + b))``, decoded by ``W^T code + c``: a top-k sparse autoencoder with tied weights.

    Gao et al., "Scaling and evaluating sparse autoencoders" (2024); the head of CSR (Wen et al., ICML 2025, section 3).
    Codes are non-negative with at most ``k`` entries that are not 0. Trained by the objective ``CSR``.

    Args:
        latents: length of the code, >= 1.
        k: entries kept, from 1 to ``latents``.
        dim: width of the features, ``None``: from the first ones.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> code = SparseHead(latents=16, k=3)(torch.randn(4, 8))
        >>> code.shape, int((code > 0).sum(1).max()) <= 3
        (torch.Size([4, 16]), True)
    """

    weight: nn.Parameter | UninitializedParameter
    centre: nn.Parameter | UninitializedParameter

    def __init__(self, latents: int, k: int, dim: int | None = None) -> None:
        super().__init__()
        self.output_dim = self.latents = at_least_one(latents, "latents")
        if not 1 <= k <= latents:
            raise ValueError(f"k={k}: must lie in [1, latents={latents}].")
        self.k = k
        self.weight, self.centre = UninitializedParameter(), UninitializedParameter()
        self.bias = nn.Parameter(torch.zeros(latents))
        if dim is not None:
            self._materialize(at_least_one(dim, "dim"))

    def _materialize(self, dim: int) -> None:
        if isinstance(self.weight, UninitializedParameter) and isinstance(self.centre, UninitializedParameter):
            with torch.no_grad():
                self.weight.materialize((self.latents, dim))
                self.weight.copy_(F.normalize(torch.randn_like(self.weight), dim=-1))
                self.centre.materialize((dim,))
                self.centre.zero_()

    def initialize_parameters(self, x: Tensor) -> None:
        """Width from the first features ``[..., F]``; afterwards without effect."""
        self._materialize(x.shape[-1])

    def activations(self, x: Tensor) -> Tensor:
        """Before selection, ``[..., F] -> [..., latents]``."""
        self.initialize_parameters(x)
        if x.shape[-1] != self.weight.shape[1]:
            raise ValueError(f"SparseHead of width {self.weight.shape[1]} met features of width {x.shape[-1]}.")
        return F.linear(x - self.centre.to(x.dtype), self.weight.to(x.dtype), self.bias.to(x.dtype))

    def select(self, activations: Tensor, k: int) -> Tensor:
        """The ``k`` largest, where positive; else 0. ``[..., latents]``."""
        value, place = activations.topk(min(k, self.latents), dim=-1)
        return torch.zeros_like(activations).scatter(-1, place, value.clamp(min=0))

    def decode(self, code: Tensor, centred: bool = False) -> Tensor:
        """``[..., latents] -> [..., F]``; ``centred``: without ``c``."""
        out = code @ self.weight.to(code.dtype)
        return out if centred else out + self.centre.to(code.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., F] -> [..., latents]``."""
        return self.select(self.activations(x), self.k)
