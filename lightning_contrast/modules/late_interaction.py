"""Texts compared token by token."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.contrast.exchange import all_sizes
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.modules.contrastive import ContrastiveModule
from lightning_contrast.modules.inputs import inputs_of, payload_of, with_negatives_known

Tokens = tuple[Tensor, Tensor]


class LateInteractionModule(ContrastiveModule):
    """A ``ContrastiveModule`` whose rows are all tokens of a text with their mask: CLRCMD, ColBERT.

    The objective's similarity takes them, ``MaxSim``. The encoder is a :class:`~lightning_contrast.encoders.TextEncoder`; the
    head, such as a linear one, acts on each token. What is evaluated, searched and shipped is still one vector a text
    (:meth:`embed`), the encoder's pooled states, by cosine. Of several views the first asks for the second.

    Args:
        *args: as for ``ContrastiveModule``.
        **kwargs: as for ``ContrastiveModule``, but for ``key_encoder``, ``key_head``, ``predictor``, ``transform``,
            ``chunk_size`` and ``chunk_tokens``, which are made for single vectors.

    Raises:
        ValueError: for one of these, for another encoder, for an objective without a similarity of its own; at set-up for
            callbacks that keep or measure single vectors of what is compared.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.encoder, TextEncoder):
            raise ValueError(f"LateInteractionModule needs a TextEncoder, got {type(self.encoder).__name__}.")
        if self.objective.similarity is None:
            raise ValueError(
                f"{type(self.objective).__name__}(similarity=None) compares single vectors: give similarity=MaxSim()."
            )
        unfit = ("key_encoder", "key_head", "predictor", "chunk_size", "chunk_tokens")
        given = [name for name in unfit if getattr(self, name) is not None] + ["transform"] * bool(len(self.transforms))
        if given:
            raise ValueError(
                f"LateInteractionModule has no {', '.join(given)}: rows are tokens, not single vectors. Leave it out."
            )

    def tokens(self, x: Mapping[str, Tensor]) -> Tokens:
        """Embeddings of tokens ``[N, L, D]``, through the head, and their mask ``[N, L]``; as wide on all processes."""
        assert isinstance(self.encoder, TextEncoder)
        mask = x.get("pooling_mask", x["attention_mask"])
        z = self.encoder.states(x["input_ids"], x["attention_mask"])
        z = z if self.head is None else self.head(z.flatten(0, 1)).unflatten(0, mask.shape)
        more = max(width for (width,) in all_sizes(z.shape[1], device=z.device)) - z.shape[1]
        return nn.functional.pad(z, (0, 0, 0, more)), nn.functional.pad(mask, (0, more))

    def contrast(self, batch: Mapping[str, Any]) -> Contrast:
        """Pairs of texts, or two views, and hard negatives, which serve the whole batch unless ``in_batch`` says otherwise."""
        inputs, payload = inputs_of(batch), payload_of(batch)
        anchors, positives = (inputs.anchors, inputs.positives) if inputs.views is None else inputs.views[:2]
        made = Contrast.from_pairs(self.tokens(anchors), self.tokens(positives), in_batch=self.in_batch, **payload)
        if inputs.negatives is None:
            return made
        z, n = self.tokens(inputs.negatives), made.anchors.rows
        private = not self.in_batch and len(z[0]) % n == 0
        z = (z[0].unflatten(0, (n, -1)), z[1].unflatten(0, (n, -1))) if private else z
        made = made.append(Candidates(z, name="negative", where="private" if private else "batch"))
        return with_negatives_known(made, inputs)

    def setup(self, stage: str) -> None:
        """Also says which callbacks cannot read tokens."""
        readers = [type(c).__name__ for c in self._callbacks("on_contrast_end") if reads_vectors(c)]
        if stage == "fit" and readers:
            raise ValueError(
                f"{', '.join(readers)} reads one vector a row of what is compared, where LateInteractionModule has tokens: "
                "remove the callback; those that evaluate by embeddings (SearchEvaluation, OnlineKNN) serve."
            )
        super().setup(stage)


def reads_vectors(callback: Any) -> bool:
    """Whether a callback keeps or measures what was compared, row by row, and does not say that it takes tuples."""
    own = {name for kind in type(callback).__mro__ if kind.__name__ != "ContrastCallback" for name in vars(kind)}
    return "on_contrast_end" in own and getattr(callback, "reads_vectors", True)
