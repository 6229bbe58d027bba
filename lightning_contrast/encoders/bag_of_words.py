"""The mean of the vectors of a text's words."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_contrast.encoders.encoder import Encoder
from lightning_contrast.functional.vector_table import read_vectors


class BagOfWords(Encoder):
    """One trained vector a word, averaged: a text encoder that learns on a CPU in a minute.

    A word that says little learns a short vector. The order of words is lost.

    Args:
        words: Numbers of words, as the data make them (0 fills up and counts for nothing), >= 2; ``None`` is 32768, or the
            rows of `table`.
        output_dim: Width of the vectors; ``None`` is 128, or the width of `table`.
        table: A file of vectors to start from, ``.safetensors``, ``.npz`` or ``.npy`` with one matrix, or
            ``package:NAME/FILE`` inside an installed Python package. Its rows are in the order of the numbers of a tokenizer
            (``TextTokenizer`` of the same model's tokenizer file, ``special_tokens: false``). ``None`` starts from scratch.

    Raises:
        ValueError: For numbers out of range, or others than those of `table`; for a file that holds no table; in use for
            words that it does not have.
        FileNotFoundError: If `table` is not there.

    Example:
        >>> BagOfWords(words=10, output_dim=4)(torch.tensor([[3, 7, 0], [7, 3, 3]])).shape
        torch.Size([2, 4])
    """

    def __init__(self, words: int | None = None, output_dim: int | None = None, table: str | None = None) -> None:
        super().__init__()
        vectors = None if table is None else read_vectors(table)
        rows, width = (32768, 128) if vectors is None else vectors.shape
        words, output_dim = rows if words is None else words, width if output_dim is None else output_dim
        if words < 2 or output_dim < 1:
            raise ValueError(f"words={words}, output_dim={output_dim}: need at least 2 words and 1 dimension.")
        if vectors is not None and (words, output_dim) != (rows, width):
            raise ValueError(
                f"words={words}, output_dim={output_dim}: table={table!r} has {rows} rows of {width}; give these, or neither."
            )
        self.embedding = nn.EmbeddingBag(words, output_dim, mode="mean", padding_idx=0)
        if vectors is not None:
            with torch.no_grad():
                self.embedding.weight.copy_(vectors)
        self.output_dim = output_dim

    def forward(self, x: Any) -> Tensor:
        """Word numbers ``x: [N, L]``, padded with 0, to ``[N, output_dim]``; zeros for a text without words.

        Or what `TextTokenizer` makes, ``input_ids`` and ``attention_mask``, both ``[N, L]``: pieces of words count as words.
        Here the mask says what is padding, and 0 is a token like others.
        """
        masked = isinstance(x, dict) and {"input_ids", "attention_mask"} <= set(x)
        ids = x["input_ids"] if masked else x
        if not isinstance(ids, Tensor) or ids.dim() != 2 or ids.is_floating_point():
            found = f"{ids.dtype} {list(ids.shape)}" if isinstance(ids, Tensor) else f"a {type(ids).__name__}"
            raise ValueError(
                f"BagOfWords takes word numbers, integers [N, L]; got {found}. Of a TextDataModule set tokenizer=HashedWords."
            )
        there = x["attention_mask"] != 0 if masked else ids != 0
        if torch.compiler.is_compiling():  # graphs (ONNX) know neither bags with padding nor checks of values
            rows = functional.embedding(ids, self.embedding.weight) * there[..., None]
            return rows.sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        self._check(ids)
        if not masked:
            return self.embedding(ids)
        ends = there.sum(1).cumsum(0)
        return functional.embedding_bag(ids[there], self.embedding.weight, ends - there.sum(1), mode="mean")

    def _check(self, ids: Tensor) -> None:
        words = self.embedding.num_embeddings
        if ids.device.type == "cpu" and ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < words:
            raise ValueError(
                f"BagOfWords(words={words}): the data have numbers from {int(ids.min())} to {int(ids.max())}; give encoder and "
                "data the same words=..."
            )
