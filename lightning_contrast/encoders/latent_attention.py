"""Tokens attend to trained latents before they are pooled, in a decoder that looks both ways."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.functional.pooling import pooled


class LatentAttention(TextEncoder):
    """A transformer whose tokens attend to ``latents`` trained vectors, then a perceptron, then their mean.

    Lee et al., "NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models" (ICLR 2025, section 3.1):
    ``h = q + attention(q, K, V = K)``, ``h + mlp(h)``, both residual. Instructions are left out of the mean by
    ``pooling_mask``.

    Args:
        model: as of ``TextEncoder``.
        config: as of ``TextEncoder``.
        latents: >= 1 (512 in the paper).
        heads: of the attention, dividing the width.
        bidirectional: every token sees all others; without effect on encoders, which do so anyway.
        normalize: whether rows get unit norm.
        dropout: as of ``TextEncoder``.

    Raises:
        ValueError: for numbers out of range.
    """

    def __init__(
        self,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        latents: int = 64,
        heads: int = 8,
        bidirectional: bool = True,
        normalize: bool = True,
        dropout: float | None = None,
    ) -> None:
        super().__init__(model, config, "mean", normalize, dropout)
        width = self.output_dim
        assert width is not None
        if latents < 1 or heads < 1 or width % heads:
            raise ValueError(f"latents={latents}, heads={heads}: need >= 1, and heads that divide the width {width}.")
        self.bidirectional = bidirectional
        self.latents = nn.Parameter(torch.randn(latents, width) * width**-0.5)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last layer, ``[N, L, output_dim]``."""
        if not self.bidirectional:
            return super().states(ids, mask)
        everyone = open_to(mask, mask.shape[1], next(self.transformer.parameters()).dtype)
        return self.transformer(input_ids=ids, attention_mask=everyone).last_hidden_state

    def attended(self, states: Tensor) -> Tensor:
        """What each token takes from the latents, ``[N, L, output_dim]``."""
        latents = self.latents.to(states.dtype).expand(len(states), -1, -1)
        return self.attention(states, latents, latents, need_weights=False)[0]

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """The mean of what the latents make of each token, ``[N, output_dim]``."""
        states = states + self.attended(states)
        return pooled(states + self.mlp(states), mask, "mean")


def open_to(mask: Tensor, queries: int, dtype: torch.dtype) -> Tensor:
    """A mask to add to attention scores, ``[N, 1, queries, L]``: 0 at tokens of ``mask: [N, L]``, else very small."""
    closed = (1 - mask.to(dtype)) * torch.finfo(dtype).min
    return closed[:, None, None].expand(-1, 1, queries, -1)
