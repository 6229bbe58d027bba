"""The mean of the vectors of a text's words."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_contrast.encoders.encoder import Encoder


class BagOfWords(Encoder):
    """One trained vector a word, averaged: a text encoder that learns on a CPU in a minute.

    A word that says little learns a short vector. The order of words is lost.

    Args:
        words: Numbers of words, as the data make them (0 fills up and counts for nothing), >= 2.
        output_dim: Width of the vectors.

    Raises:
        ValueError: For numbers out of range; in use for words that it does not have.

    Example:
        >>> BagOfWords(words=10, output_dim=4)(torch.tensor([[3, 7, 0], [7, 3, 3]])).shape
        torch.Size([2, 4])
    """

    def __init__(self, words: int = 32768, output_dim: int = 128) -> None:
        super().__init__()
        if words < 2 or output_dim < 1:
            raise ValueError(f"words={words}, output_dim={output_dim}: need at least 2 words and 1 dimension.")
        self.embedding = nn.EmbeddingBag(words, output_dim, mode="mean", padding_idx=0)
        self.output_dim = output_dim

    def forward(self, x: Any) -> Tensor:
        """Word numbers ``x: [N, L]``, padded with 0, to ``[N, output_dim]``; zeros for a text without words.

        Or what `TextTokenizer` makes, ``input_ids`` and ``attention_mask``: pieces of words count as words, so that it can
        stand as a teacher beside a transformer.
        """
        if isinstance(x, dict) and {"input_ids", "attention_mask"} <= set(x):
            x = x["input_ids"] * x["attention_mask"]
        if not isinstance(x, Tensor) or x.dim() != 2 or x.is_floating_point():
            found = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(
                f"BagOfWords takes word numbers, integers [N, L]; got {found}. Of a TextDataModule set tokenizer=HashedWords."
            )
        if torch.compiler.is_compiling():  # graphs (ONNX) know neither bags with padding nor checks of values
            there = (x != 0)[..., None]
            return (functional.embedding(x, self.embedding.weight) * there).sum(1) / there.sum(1).clamp(min=1)
        words = self.embedding.num_embeddings
        if x.device.type == "cpu" and x.numel() and not 0 <= int(x.min()) <= int(x.max()) < words:
            raise ValueError(
                f"BagOfWords(words={words}): the data have numbers from {int(x.min())} to {int(x.max())}; give encoder and "
                "data the same words=..."
            )
        return self.embedding(x)
