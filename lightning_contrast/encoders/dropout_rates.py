"""Views by dropout of several strengths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from lightning_contrast.encoders.encoder import Encoder, EncoderLike


class DropoutRates(Encoder):
    """Another encoder, in training at several dropout rates: each view of a text at its own.

    Sedghamiz et al., "SupCL-Seq" (EMNLP Findings 2021), section 3.1. ``ContrastiveModule`` encodes views of one shape
    together, the first view's rows first; they are dealt in that order: V rates for V views (``data.n_views``). In
    evaluation it is the encoder.

    Args:
        encoder: with dropout layers.
        rates: of the views, in [0, 1); ``None`` leaves the encoder's own.

    Raises:
        ValueError: for rates out of range, or an encoder without dropout; in training for rows that they do not divide.
    """

    def __init__(self, encoder: EncoderLike, rates: Sequence[float | None] = (None, 0.0, 0.05, 0.2)) -> None:
        super().__init__()
        if not rates or not all(rate is None or 0 <= rate < 1 for rate in rates):
            raise ValueError(f"rates={list(rates)}: give at least one, each in [0, 1) or None.")
        if not list(dropouts(encoder)):
            raise ValueError(f"{type(encoder).__name__} has no dropout layer: its views would be equal.")
        self.encoder, self.rates = encoder, list(rates)
        self.output_dim = getattr(encoder, "output_dim", None)

    def forward(self, x: Any) -> Tensor:
        """``[N, output_dim]``."""
        if not self.training:
            return self.encoder(x)
        rows, parts = len(tree_leaves(x)[0]), len(self.rates)
        if rows % parts:
            raise ValueError(
                f"DropoutRates has {parts} rates for {rows} rows of equal views: set data.n_views={parts}, and a chunk_size "
                f"that is a multiple of {parts}, or none."
            )
        out, size = [], rows // parts
        for number, rate in enumerate(self.rates):
            part = tree_map(lambda t, at=number * size: t[at : at + size], x)
            with dropout_at(self.encoder, rate):
                out.append(self.encoder(part))
        return torch.cat(out)


def dropouts(module: nn.Module) -> Iterator[tuple[Any, str]]:
    """Every layer that drops, and the name of its rate."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            yield layer, "p"
        elif hasattr(layer, "dropout_prob"):  # attention by scaled_dot_product_attention has no layer for it
            yield layer, "dropout_prob"


@contextmanager
def dropout_at(module: nn.Module, rate: float | None) -> Iterator[None]:
    """All dropout layers at this rate, and as before afterwards; ``None`` changes nothing."""
    before = [(layer, name, getattr(layer, name)) for layer, name in dropouts(module)] if rate is not None else []
    try:
        for layer, name, _ in before:
            setattr(layer, name, rate)
        yield
    finally:
        for layer, name, old in before:
            setattr(layer, name, old)
