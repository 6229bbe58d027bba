"""Telling replaced tokens from real ones by the text's vector (DiffCSE)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.encoders.text import TextEncoder
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.regularisers.listening import ListeningRegulariser, mean_over_ranks
from lightning_contrast.regularisers.token_generators import TokenGenerator, UnigramGenerator


class ReplacedTokens(ListeningRegulariser):
    """Cross-entropy, a token, of a discriminator that reads a changed text and the vector of the text as it was.

    Chuang et al., "DiffCSE: Difference-based Contrastive Learning for Sentence Embeddings" (NAACL 2022, section 3). Of each
    view's tokens a share `rate` is masked and filled by the generator. The discriminator, a transformer of its own, gets the
    embedding ``h`` in the place of its first token and says of every other real one whether it was replaced by another. The
    encoder learns through ``h`` alone. Both are part of the objective: with the checkpoint, not with what is shipped. What is
    masked is a function of step and sample.

    Args:
        weight: 0.005 in the paper.
        discriminator: a transformer as wide as the embeddings (its pooling does not count); ``None`` is
            ``TextEncoder()``, a small one from scratch.
        generator: ``None`` draws tokens by their frequency; a ``MaskedLMGenerator`` is the paper's.
        rate: share of the tokens that are masked, in [0, 1].
        seed: of the masks.

    Raises:
        ValueError: for values out of range; in training for embeddings of another width, for inputs that are no tokens,
            and without views.
    """

    step: Tensor

    def __init__(
        self,
        weight: float = 0.005,
        discriminator: TextEncoder | None = None,
        generator: TokenGenerator | None = None,
        rate: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(weight)
        if not 0 <= rate <= 1:
            raise ValueError(f"rate={rate}: must lie in [0, 1].")
        self.discriminator = TextEncoder() if discriminator is None else discriminator
        held: Any = self.discriminator.transformer.config
        self.generator = UnigramGenerator(int(held.vocab_size)) if generator is None else generator
        self.tell = nn.Linear(int(held.hidden_size), 2)
        self.rate, self.seed = rate, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def heard(self, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        """The tokens."""
        x = args[0] if args else named
        if not isinstance(x, dict) or not {"input_ids", "attention_mask"} <= set(x):
            raise ValueError(
                "ReplacedTokens reads input_ids and attention_mask beside the encoder: use a TextEncoder and TextDataModule."
            )
        return x["input_ids"], x["attention_mask"]

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, >= 0; about log 2 where nothing is learned."""
        ids, mask = self.kept(contrast)
        changed = self.changed(ids, mask, contrast)
        logits = self.logits(changed, mask, contrast.anchors.first)
        asked = mask != 0
        asked[:, :1] = False
        total = F.cross_entropy(logits[asked].float(), (changed != ids)[asked].long(), reduction="sum")
        return mean_over_ranks(total, asked.sum(), contrast)

    def changed(self, ids: Tensor, mask: Tensor, contrast: Contrast) -> Tensor:
        """Each view with some tokens replaced, ``[V N, L]``."""
        index = contrast.anchors.get("index")
        index = torch.where(index < 0, contrast.anchors.get("position"), index)
        own = index * 1024 + contrast.anchors.get("view")
        drawn = [counter_uniform(own, ids.shape[1], seed=self.seed, epoch=int(self.step), view=use) for use in (0, 1)]
        if self.training and torch.is_grad_enabled():
            self.step += 1
        masked = self.generator.maskable(ids, mask) & (drawn[0] < self.rate)
        return self.generator(ids, mask, masked, drawn[1])

    def logits(self, ids: Tensor, mask: Tensor, h: Tensor) -> Tensor:
        """What the discriminator says of each token, real or replaced, ``[V N, L, 2]``."""
        transformer: Any = self.discriminator.transformer
        self.discriminator.check_tokens(ids)
        words = transformer.get_input_embeddings()(ids)
        if h.shape[1] != words.shape[2]:
            raise ValueError(
                f"ReplacedTokens: embeddings of {h.shape[1]} numbers take the place of a token of {words.shape[2]}: give the "
                f"discriminator hidden_size={h.shape[1]}, or the head output_dim={words.shape[2]}."
            )
        words = torch.cat([h[:, None].to(words.dtype), words[:, 1:]], 1)
        return self.tell(transformer(inputs_embeds=words, attention_mask=mask).last_hidden_state)
