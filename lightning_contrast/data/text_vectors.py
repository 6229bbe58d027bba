"""Vectors of texts by something that is not trained here: what filters and compares pairs before training."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_contrast.data.asked import imported, named
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.words import words_of

if TYPE_CHECKING:
    Function = str | Callable[[list[str]], Any]
else:
    Function = str


class TextVectors:
    """Vectors ``[n, D]`` of texts; all texts that are to be compared are given at once."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """``[n, D]``, float32."""
        raise NotImplementedError


class WordVectors(TextVectors):
    """Words weighted by how rare they are (TF-IDF), in few dimensions by their leading singular vectors.

    Deerwester et al., "Indexing by Latent Semantic Analysis" (1990), by scikit-learn.

    Args:
        width: dimensions, >= 1; as many as texts and words allow.

    Raises:
        ValueError: for a width below 1.
    """

    def __init__(self, width: int = 512) -> None:
        if width < 1:
            raise ValueError(f"width={width}: must be at least 1.")
        self.width = width

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """The same for the same texts."""
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        counts = TfidfVectorizer(analyzer=words_of, sublinear_tf=True).fit_transform(texts)
        width = min(self.width, *(side - 1 for side in counts.shape))
        if width < 1:
            raise TextDataError(
                f"WordVectors: {counts.shape[0]} texts with {counts.shape[1]} words are too few to compare."
            )
        return torch.from_numpy(TruncatedSVD(width, random_state=0).fit_transform(counts)).float()


class EmbeddedBy(TextVectors):
    """Vectors by a function of yours, such as a pretrained encoder.

    Args:
        function: from a list of texts to their vectors ``[n, D]`` (tensor, array or lists); a callable, or its import path
            such as ``my_project.encoders.embed``.

    Raises:
        ValueError: for a path without such a function.
        TextDataError: in use, for what is no finite ``[n, D]``.
    """

    def __init__(self, function: Function) -> None:
        self.function = imported(function) if isinstance(function, str) else function
        self.name = function if isinstance(function, str) else named(function)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """As the function gives them."""
        found = torch.as_tensor(self.function(list(texts))).detach().float().cpu()
        if found.dim() != 2 or len(found) != len(texts) or not bool(torch.isfinite(found).all()):
            raise TextDataError(
                f"{self.name} gave {list(found.shape)} for {len(texts)} texts; it must give finite vectors, [n, D]."
            )
        return found
