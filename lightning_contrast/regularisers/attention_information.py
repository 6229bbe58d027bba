"""Attention that two views of a text have in common (miCSE)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast
from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.gaussian_information import correlation, gaussian_information
from lightning_contrast.regularisers.listening import ListeningRegulariser, mean_over_ranks

STRIDE = 2**16  # more than a text has tokens


class AttentionInformation(ListeningRegulariser):
    """``-mean 1/2 log 1 / (1 - r^2)``: ``r`` correlates the log attention of two views of a text, head by head.

    Klein and Nabi, "miCSE: Mutual Information Contrastive Learning for Low-shot Sentence Embeddings" (ACL 2023, section 3).
    The mean is over layers, heads and texts. Of a text `entries` pairs of tokens that both views have are drawn, by its
    index and the step; what dropout made 0 in one of the views does not count. The transformer's attention is computed
    by plain products, since fused kernels do not tell it.

    Args:
        weight: 5e-4 for a tenth of the paper's data, 1e-4 to 1e-3 otherwise.
        layers: which ones, from 0; ``None`` is the last five (7 to 11 of 12), or all of fewer.
        entries: drawn of a text without replacement, >= 3.
        eps: ``1 - r^2`` at least, > 0.
        seed: of the draws.

    Raises:
        ValueError: for values out of range; at set-up for layers that there are not, and for anything but a ``TextEncoder``;
            in training without two views.
    """

    options: ClassVar[dict[str, Any]] = {"output_attentions": True}
    step: Tensor

    def __init__(
        self,
        weight: float = 5e-4,
        layers: Sequence[int] | None = None,
        entries: int = 150,
        eps: float = 1e-5,
        seed: int = 0,
    ) -> None:
        super().__init__(weight)
        if entries < 3 or not 0 < eps < 1 or (layers is not None and (not layers or min(layers) < 0)):
            raise ValueError(
                f"layers={layers}, entries={entries}, eps={eps}: need layers >= 0, entries >= 3, eps in (0, 1)."
            )
        self.layers = None if layers is None else tuple(layers)
        self.entries, self.eps, self.seed = entries, eps, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def part(self, encoder: nn.Module) -> nn.Module:
        """The transformer of a ``TextEncoder``, perhaps within another encoder."""
        found = next((m for m in encoder.modules() if isinstance(m, TextEncoder)), None)
        if found is None:
            raise ValueError(f"AttentionInformation reads a TextEncoder, the encoder is a {type(encoder).__name__}.")
        transformer: Any = found.transformer
        held = transformer.config
        if self.layers is not None and max(self.layers) >= held.num_hidden_layers:
            raise ValueError(f"layers={list(self.layers)}: the transformer has {held.num_hidden_layers}, from 0.")
        if held._attn_implementation != "eager":
            transformer.set_attn_implementation("eager")
        return transformer

    def heard(self, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        """Maps ``[V N, heads, L, L]`` of each layer, and which tokens are real, ``[V N, L]``."""
        maps = output.attentions
        chosen = range(max(0, len(maps) - 5), len(maps)) if self.layers is None else self.layers
        mask = named["attention_mask"]
        length = maps[0].shape[-2]
        if mask.ndim == 4:  # what is added to scores: 0 at real tokens
            mask = mask[:, 0, 0] == 0
        return mask[:, -length:] != 0, [maps[layer][..., -length:] for layer in chosen]  # prompts stand before

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, <= 0."""
        real, maps = self.kept(contrast)
        view, index = contrast.anchors.get("view"), contrast.anchors.get("index")
        if len(view) and int(view.max()) != 1:
            raise ValueError(
                f"AttentionInformation compares two views, there are {int(view.max()) + 1}: set n_views=2."
            )
        n, length = len(view) // 2, real.shape[1]
        index = torch.where(index < 0, contrast.anchors.get("position"), index)[:n]
        tokens = (index[:, None] * STRIDE + torch.arange(length, device=index.device)).flatten()
        key = counter_uniform(tokens, length, seed=self.seed, epoch=int(self.step)).view(n, -1)
        both = real[:n] & real[n:]
        key = key.masked_fill(~(both[:, :, None] & both[:, None]).flatten(1), -1.0)
        drawn = key.topk(min(self.entries, length * length), dim=1)
        if torch.is_grad_enabled():
            self.step += 1
        found = [self._information(layer, drawn.indices, drawn.values >= 0) for layer in maps]
        return mean_over_ranks(-torch.stack(found).mean(0).sum(), torch.tensor(n, device=view.device), contrast)

    def _information(self, maps: Tensor, place: Tensor, there: Tensor) -> Tensor:
        """Mean over heads, ``[N]``."""
        flat = maps.flatten(2) if maps.element_size() >= 4 else maps.flatten(2).float()
        one, two = (half.gather(2, place[:, None].expand(-1, maps.shape[1], -1)) for half in flat.chunk(2))
        kept = (one > 0) & (two > 0) & there[:, None]
        x, y = (torch.where(kept, t, 1.0).log() for t in (one, two))
        return gaussian_information(correlation(x, y, kept), self.eps).mean(1)
