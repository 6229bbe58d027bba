"""A frozen transformer with trained prompts."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_contrast.encoders.latent_attention import open_to
from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.functional.pooling import Pooling


class Prompted(TextEncoder):
    """Trained keys and values before those of the tokens, in every layer; the transformer itself is frozen.

    Jiang, Zhang and Wang, "Improved Universal Sentence Embeddings with Prompt-based Contrastive Learning and Energy-based
    Learning" (PromCSE, EMNLP Findings 2022, section 3.1). Tokens keep their positions. For BERT and models built as it is,
    whose positions count from 0.

    Args:
        model: as of ``TextEncoder``.
        config: as of ``TextEncoder``.
        prompts: of each layer, >= 1 (10 to 16 in the paper).
        pooling: as of ``TextEncoder``.
        normalize: as of ``TextEncoder``.
        dropout: as of ``TextEncoder``; it stays at work in training, and makes the views.

    Raises:
        ValueError: for fewer prompts.
    """

    def __init__(
        self,
        model: str | None = None,
        config: dict[str, Any] | None = None,
        prompts: int = 16,
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__(model, config, pooling, normalize, dropout)
        if prompts < 1:
            raise ValueError(f"prompts={prompts}: must be at least 1.")
        self.transformer.requires_grad_(False)
        held: Any = self.transformer.config
        heads = int(held.num_attention_heads)
        shape = (int(held.num_hidden_layers), 2, heads, prompts, int(held.hidden_size) // heads)
        self.prompts = nn.Parameter(0.02 * torch.randn(shape))

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The last layer, ``[N, L, output_dim]``."""
        from transformers import DynamicCache

        n, length = ids.shape
        cache = DynamicCache()
        for layer, (key, value) in enumerate(self.prompts):
            cache.update(key.expand(n, -1, -1, -1), value.expand(n, -1, -1, -1), layer)
        seen = torch.cat([mask.new_ones(n, self.prompts.shape[3]), mask], 1)
        return self.transformer(
            input_ids=ids,
            attention_mask=open_to(seen, length, next(self.transformer.parameters()).dtype),
            position_ids=torch.arange(length, device=ids.device).expand(n, -1),
            past_key_values=cache,
        ).last_hidden_state
