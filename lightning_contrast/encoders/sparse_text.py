"""Texts as weights of the words of a vocabulary, most of them 0 (SPLADE)."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_contrast.encoders.text import TextEncoder


class SparseTextEncoder(TextEncoder):
    """``max_t log(1 + relu(w_tj))``: how much each word ``j`` of the vocabulary weighs in a text, by its masked language model.

    Formal et al., "SPLADE: Sparse Lexical and Expansion Model for First Stage Ranking" (SIGIR 2021), with the maximum over
    tokens of "SPLADE v2" (2021, eq. 6). Rows are as wide as the vocabulary; inner products (``Dot``) compare them, and
    :class:`~lightning_contrast.regularisers.FLOPS` makes them sparse.

    A trained masked language model gives most words at most tokens a negative logit. In an untrained one half of the logits
    are positive, so that nearly every word of the vocabulary weighs in every text: texts are then alike but for their length,
    inner products are in the hundreds, and training makes all texts equal. So its biases start two standard deviations
    below zero: at each token one word in 44 weighs, in a text of 30 tokens every second one.

    Args:
        model: as of ``TextEncoder``, with the layer that predicts masked tokens; a new one is made where it has none.
        config: as of ``TextEncoder``.
        dropout: as of ``TextEncoder``.

    Example:
        >>> tokens = {"input_ids": torch.tensor([[2, 7, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
        >>> z = SparseTextEncoder(config={"hidden_size": 16, "vocab_size": 50})(tokens)
        >>> z.shape, bool((z >= 0).all())
        (torch.Size([1, 50]), True)
    """

    kind: ClassVar[str] = "AutoModelForMaskedLM"

    def __init__(
        self, model: str | None = None, config: dict[str, Any] | None = None, dropout: float | None = None
    ) -> None:
        super().__init__(model, config, "mean", False, dropout)
        held: Any = self.transformer.config
        self.output_dim = int(held.vocab_size)
        if model is None:
            self._start_sparse()

    @torch.no_grad()
    def _start_sparse(self) -> None:
        last: Any = self.transformer.get_output_embeddings()  # type: ignore[operator]
        if last is not None and getattr(last, "bias", None) is not None:
            last.bias.copy_(-2 * last.weight.norm(dim=1))  # its inputs come from a LayerNorm: components of variance 1

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The logit of each word at each token, ``[N, L, vocab_size]``."""
        return self.transformer(input_ids=ids, attention_mask=mask).logits

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Of each word its largest weight, ``[N, vocab_size]``, >= 0."""
        return torch.log1p(torch.relu(states).masked_fill(mask[..., None] == 0, 0.0).amax(1))
