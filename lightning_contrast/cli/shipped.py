"""What is shipped of a trained module: the encoder of one side, with or without its head."""

import hashlib
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from lightning_contrast.callbacks.embedding import first_input, key_input, two_towers
from lightning_contrast.encoders import Cached
from lightning_contrast.modules import ContrastiveModule

Side = Literal["query", "document"]
Space = Literal["feature", "embedding"]


def default_space(module: Any) -> Space:
    """``feature``, before the head; of two towers ``embedding``, as only there the two are comparable."""
    return "embedding" if two_towers(module) else "feature"


class Shipped(nn.Module):
    """One side's way from inputs to rows; predictors, teachers, objectives and memories stay behind.

    Args:
        module: a ContrastiveModule.
        side: ``query`` or ``document``; the same, unless there are two towers.
        space: ``feature``: before the head; ``embedding``: after it.
        normalize: whether rows get unit norm.
    """

    def __init__(self, module: Any, side: Side = "query", space: Space = "feature", normalize: bool = False) -> None:
        super().__init__()
        second = side == "document" and two_towers(module)
        plain = type(module).embed is ContrastiveModule.embed  # else the user's own way stands in `embed`
        encoder = module.key_encoder if second else module.encoder if plain else _Embed(module)
        self.encoder: nn.Module = encoder.encoder if isinstance(encoder, Cached) else encoder
        head = module.key_head if second else module.head
        self.head: nn.Module | None = head if space == "embedding" else None
        self.normalize = normalize

    def forward(self, inputs: Any) -> Tensor:
        """Inputs of N items to ``[N, D]``."""
        z = self.encoder(inputs)
        z = z if self.head is None else self.head(z)
        return nn.functional.normalize(z, dim=1) if self.normalize else z


def fingerprint(module: Any) -> str:
    """The first 16 digits of the SHA-256 of a module's networks: the same weights have the same, in every file."""
    seen = hashlib.sha256()
    for part in ("encoder", "head", "key_encoder", "key_head"):
        network = getattr(module, part)
        for name, value in sorted(() if network is None else network.state_dict().items()):
            if isinstance(value, Tensor):
                seen.update(f"{part}.{name}".encode())
                seen.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()[:16]


class _Embed(nn.Module):
    """A module's overridden ``embed`` as a forward pass."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Any) -> Tensor:
        return self.module.embed(inputs)  # type: ignore[operator]


class Embedder(pl.LightningModule):
    """``predict`` of one side: embeddings with everything of the batch that has one number a row.

    Args:
        shipped: the way to the embeddings.
        side: which of a pair's two inputs is read; of a batch with ``input`` that one.
    """

    def __init__(self, shipped: Shipped, side: Side = "query") -> None:
        super().__init__()
        self.shipped, self.side = shipped, side

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """``embedding`` ``[N, D]``, and payload ``[N]``."""
        if not isinstance(batch, dict):
            return {"embedding": self.shipped(batch[0] if isinstance(batch, (list, tuple)) else batch)}
        z = self.shipped(first_input(batch) if self.side == "query" else key_input(batch))
        kept = {key: v for key, v in batch.items() if isinstance(v, Tensor) and v.shape == (len(z),)}
        return {**kept, "embedding": z}
