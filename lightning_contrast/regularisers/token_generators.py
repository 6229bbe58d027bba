"""What is put in the place of masked tokens, by models that are not trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_contrast.contrast.exchange import all_sum
from lightning_contrast.functional.model_place import model_place

if TYPE_CHECKING:
    ModelLike = str | nn.Module
else:
    # What the command line offers; a type checker sees that a module may be passed from Python.
    ModelLike = str

EXTRA = 'MaskedLMGenerator needs the package transformers: pip install "lightning-contrast[text]"'


class TokenGenerator(nn.Module):
    """Puts tokens in the place of others; a subclass writes :meth:`forward`. Its base so that ``--help`` lists generators.

    Args:
        special: numbers of tokens that are never replaced.
    """

    special: Tensor

    def __init__(self, special: Sequence[int] = (0, 1, 2, 3, 4)) -> None:
        super().__init__()
        self.register_buffer("special", torch.tensor(sorted(special), dtype=torch.int64), persistent=False)

    def maskable(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens that may be replaced: real ones, none of the special; the first is none either. Bool ``[N, L]``."""
        real = (mask != 0) & ~torch.isin(ids, self.special)
        real[:, :1] = False
        return real

    def forward(self, ids: Tensor, mask: Tensor, masked: Tensor, u: Tensor) -> Tensor:
        """The tokens with others where `masked`, which may happen to be equal.

        Args:
            ids: int64 ``[N, L]``.
            mask: which are real, ``[N, L]``.
            masked: which are replaced, bool ``[N, L]``.
            u: uniform in [0, 1), ``[N, L]``: all the randomness that there is.
        """
        raise NotImplementedError


class UnigramGenerator(TokenGenerator):
    """Draws tokens by how often they were seen so far in the training, this batch included; by all processes.

    Args:
        vocab_size: of the tokens, >= 1.
        special: neither replaced nor drawn; those of a learned ``TextTokenizer`` are 0 to 4.

    Raises:
        ValueError: without tokens; in use for numbers beyond them.

    Example:
        >>> ids, mask = torch.tensor([[2, 7, 7, 9, 3]]), torch.ones(1, 5, dtype=torch.int64)
        >>> UnigramGenerator(10)(ids, mask, ids == 9, torch.full((1, 5), 0.5)).tolist()
        [[2, 7, 7, 7, 3]]
    """

    counts: Tensor

    def __init__(self, vocab_size: int = 8192, special: Sequence[int] = (0, 1, 2, 3, 4)) -> None:
        super().__init__(special)
        if vocab_size < 1:
            raise ValueError(f"vocab_size={vocab_size}: must be at least 1.")
        self.register_buffer("counts", torch.zeros(vocab_size, dtype=torch.int64))

    def forward(self, ids: Tensor, mask: Tensor, masked: Tensor, u: Tensor) -> Tensor:
        """By inverting the cumulated counts."""
        seen = torch.bincount(ids[self.maskable(ids, mask)], minlength=len(self.counts))
        if len(seen) > len(self.counts):
            raise ValueError(f"UnigramGenerator(vocab_size={len(self.counts)}): the texts have token {len(seen) - 1}.")
        counts = self.counts + all_sum(seen)
        if self.training and torch.is_grad_enabled():  # not while widths are found
            self.counts.copy_(counts)
        cumulated = counts.cumsum(0)
        drawn = torch.searchsorted(
            cumulated, (u.double() * cumulated[-1]).long().clamp(max=cumulated[-1] - 1), right=True
        )
        return torch.where(masked, drawn.clamp(max=len(counts) - 1), ids)


class MaskedLMGenerator(TokenGenerator):
    """The likeliest token by a masked language model of ``transformers``, which stays as it is.

    Args:
        model: folder or name that ``AutoModelForMaskedLM`` opens, whose tokens are the encoder's; in Python also such a
            model itself.
        mask_id: number of the mask token; ``None`` asks the model's tokenizer.
        special: numbers of tokens that are never replaced; ``None`` asks the tokenizer.

    Raises:
        ImportError: without ``transformers``.
        ValueError: for what it cannot open; for a model itself without `mask_id` and `special`; in use for tokens that it
            does not have.
    """

    def __init__(self, model: ModelLike, mask_id: int | None = None, special: Sequence[int] | None = None) -> None:
        if mask_id is None or special is None:
            if not isinstance(model, str):
                raise ValueError("a model itself has no tokenizer: give mask_id and special too, or its folder.")
            mask_id, special = _said_by_tokenizer(model) if mask_id is None else (mask_id, _said_by_tokenizer(model)[1])
        super().__init__(special)
        self.mask_id, self.model = mask_id, _opened(model) if isinstance(model, str) else model
        self.model.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "MaskedLMGenerator":
        """Stays in evaluation mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, ids: Tensor, mask: Tensor, masked: Tensor, u: Tensor) -> Tensor:
        """One call of the model; `u` is not used."""
        held: Any = self.model.config
        if ids.device.type == "cpu" and ids.numel() and int(ids.max()) >= held.vocab_size:
            raise ValueError(
                f"the masked language model has {held.vocab_size} tokens, the texts have token {int(ids.max())}: give tokenizer, "
                "encoder and generator the same model."
            )
        logits = self.model(input_ids=ids.masked_fill(masked, self.mask_id), attention_mask=mask).logits
        return torch.where(masked, logits.argmax(-1), ids)


def _opened(model: str) -> nn.Module:
    try:
        from transformers import AutoModelForMaskedLM
    except ImportError as error:
        raise ImportError(EXTRA) from error
    try:
        return AutoModelForMaskedLM.from_pretrained(model_place(model))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model={model!r} cannot be opened as a masked language model: {str(error).splitlines()[0]}"
        ) from error


def _said_by_tokenizer(model: str) -> tuple[int, list[int]]:
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ImportError(EXTRA) from error
    try:
        found = AutoTokenizer.from_pretrained(model_place(model))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"model={model!r}: transformers finds no tokenizer there ({str(error).splitlines()[0]}): give mask_id and special."
        ) from error
    if found.mask_token_id is None:
        raise ValueError(f"model={model!r}: its tokenizer has no mask token: give mask_id.")
    return int(found.mask_token_id), [int(number) for number in found.all_special_ids]
