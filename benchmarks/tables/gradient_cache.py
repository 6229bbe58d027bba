from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.inputs import TEMPERATURE
from benchmarks.table import Case, Goal, Step, Table
from lightning_contrast import Contrast
from lightning_contrast.modules.chunks import encode_in_chunks
from lightning_contrast.objectives import InfoNCE


class Encoder(torch.nn.Module):
    """BERT of 4 layers and 192 dimensions with random weights; reads and returns as sentence-transformers does."""

    def __init__(self) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        sizes = BertConfig(
            vocab_size=8192, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, intermediate_size=768
        )
        self.bert = BertModel(sizes, add_pooling_layer=False)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        hidden = self.bert(**features).last_hidden_state
        return {"sentence_embedding": hidden.mean(1)}


def _setup(pairs: int, tokens: int) -> tuple[Encoder, list[dict[str, torch.Tensor]]]:
    torch.manual_seed(0)
    sides = [torch.randint(0, 8192, (pairs, tokens)) for _ in range(2)]
    return Encoder().train(), [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in sides]


def ours(pairs: int, tokens: int, chunk: int | None = 64, keep: int = 0) -> Step:
    encoder, sides = _setup(pairs, tokens)
    objective = InfoNCE(TEMPERATURE)

    def encode(features: Any) -> torch.Tensor:
        return encoder(features)["sentence_embedding"]

    def once() -> None:
        encoder.zero_grad()
        if chunk is None:
            a, b = (encode(side) for side in sides)
        else:
            a, b = (encode_in_chunks(encode, side, chunk, module=encoder, keep=keep) for side in sides)
        objective(Contrast.from_pairs(a, b)).backward()

    return once


def sentence_transformers(pairs: int, tokens: int, chunk: int = 64) -> Step:
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    encoder, sides = _setup(pairs, tokens)
    model = torch.nn.Sequential(encoder)  # the loss asks what model[0] is
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=chunk)

    def once() -> None:
        encoder.zero_grad()
        loss(sides, torch.empty(0)).backward()

    return once


PLAIN, ST, KEPT = "plain PyTorch", "sentence-transformers", "ours, last chunk kept"
TABLE = Table(
    title="Gradient caching, 256 pairs in chunks of 64",
    goals=[
        Goal("256 pairs", method, figure, limit, against)
        for method, figure, limit, against in (
            ("ours", "time", 1.25, PLAIN),
            ("ours", "time", 1.0, ST),
            ("ours", "memory", 0.95, ST),
            ("ours", "memory", 0.2, PLAIN),
            (KEPT, "time", 0.95, ST),
            (KEPT, "memory", 1.0, "sentence-transformers, chunk 128"),
        )
    ],
    notes="A BERT encoder (4 layers, 192 dimensions, dropout on), 24 tokens a text; a step with the loss and the gradient "
    "of the encoder. `ours, last chunk kept` keeps the graph of the last of four chunks of each side.",
    cases=[Case("256 pairs", {"pairs": 256, "tokens": 24}, repeats=3, quick=False, faults=False, limit=240)],
    methods={
        "ours": ours,
        PLAIN: partial(ours, chunk=None),
        ST: sentence_transformers,
        KEPT: partial(ours, keep=1),
        "sentence-transformers, chunk 128": partial(sentence_transformers, chunk=128),
    },
    warm={"pairs": 8, "tokens": 24},
)
