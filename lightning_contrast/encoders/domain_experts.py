"""A transformer with feed-forward layers of their own for each domain."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.functional.pooling import Pooling


class RoutedLinear(nn.Module):
    """Copies of a linear layer, one a domain; :attr:`route` ``[N]`` says which each row takes.

    One tensor holds all copies, so that every process has a gradient for it, whatever its batch.

    Args:
        linear: what the copies start as.
        domains: how many.
    """

    def __init__(self, linear: nn.Linear, domains: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().expand(domains, -1, -1).clone())
        self.bias = nn.Parameter(linear.bias.detach().expand(domains, -1).clone())
        self.route: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``[N, L, in]`` to ``[N, L, out]``."""
        assert self.route is not None
        rows = [(self.route == domain).nonzero()[:, 0] for domain in range(len(self.weight))]
        parts = [F.linear(x[own], w, b) for own, w, b in zip(rows, self.weight, self.bias, strict=True)]
        return torch.cat(parts)[torch.cat(rows).argsort()]


class DomainExperts(TextEncoder):
    """The feed-forward layers of a BERT copied for each domain; a text's ``domain`` chooses, everything else is shared.

    Hallee et al., "Contrastive Learning and Mixture of Experts Enables Precise Vector Embeddings" (2024). No router and no
    balancing: tokens come with ``domain``, int64 ``[N]``. Before training it is the dense model, for every domain.

    Sure: medium.

    Args:
        model: as of ``TextEncoder``.
        config: as of ``TextEncoder``.
        domains: >= 1.
        pooling: as of ``TextEncoder``.
        normalize: as of ``TextEncoder``.
        dropout: as of ``TextEncoder``.

    Raises:
        ValueError: for fewer domains, a model without such layers; in use for texts without a domain, or one too high.
    """

    def __init__(
        self,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        domains: int = 2,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(model, config, pooling, normalize, dropout)
        if domains < 1:
            raise ValueError(f"domains={domains}: must be at least 1.")
        self.domains = domains
        for name, layer in list(self.transformer.named_modules()):
            feeds = name.endswith((".intermediate.dense", ".output.dense")) and ".attention." not in name
            if feeds and isinstance(layer, nn.Linear):
                self.transformer.set_submodule(name, RoutedLinear(layer, domains))
        if not any(isinstance(layer, RoutedLinear) for layer in self.modules()):
            raise ValueError(f"{type(self.transformer).__name__} has no feed-forward layers named as those of BERT.")

    def forward(self, x: Any) -> Tensor:
        """Tokens with ``domain`` ``[N]`` to ``[N, output_dim]``."""
        if not isinstance(x, dict) or "domain" not in x:
            raise ValueError("DomainExperts needs 'domain', int64 [N], beside input_ids and attention_mask.")
        route = x["domain"]
        if route.device.type == "cpu" and len(route) and not 0 <= int(route.min()) <= int(route.max()) < self.domains:
            raise ValueError(f"domains={self.domains}: the texts have {int(route.min())} to {int(route.max())}.")
        for layer in self.modules():
            if isinstance(layer, RoutedLinear):
                layer.route = route
        return super().forward(x)
