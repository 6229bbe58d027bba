"""Pairs and altered copies of both sides, all compared with each other."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.data.batch import batch_inputs
from lightning_contrast.encoders import Teacher
from lightning_contrast.modules.contrastive import ContrastiveModule
from lightning_contrast.modules.inputs import payload_of


class PairViewsModule(ContrastiveModule):
    """Up to six contrasts of the two sides of a pair and of a view of each: between the kinds, and within them.

    CoCoSoDa (Shi et al., "CoCoSoDa: Effective Contrastive Learning for Code Search", ICSE 2023). Of a batch with ``query``,
    ``document``, ``query_view`` and ``document_view`` the contrasts are ``document->query``, ``document->query_view``,
    ``query->document``, ``query->document_view``, ``document->document_view`` and ``query->query_view``: anchors come from the
    encoder, keys from ``key_encoder``, a teacher, where there is one. The loss is their mean. Each kind of key may have a queue
    of its own: ``MemoryQueue(directions=["document->query_view", "query->query_view"], name="query_view")``.

    Args:
        *args: as for ``ContrastiveModule``.
        terms: names of the contrasts; ``None`` is all six. Without views only the first and the third exist.
        **kwargs: as for ``ContrastiveModule``, but for ``both_orders`` and ``transform``.

    Raises:
        ValueError: for a term that does not exist, a second tower, a symmetric objective (each direction is a term), and
            what is left out above.
    """

    def __init__(self, *args: Any, terms: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(terms, str) or (terms is not None and not terms):
            raise ValueError(f"terms={terms!r}: give a list of at least one, or None for all six.")
        if self.key_encoder is not None and not isinstance(self.key_encoder, Teacher):
            raise ValueError(
                f"PairViewsModule(key_encoder={type(self.key_encoder).__name__}): both sides share the encoder, and keys come "
                "from it or from its teacher, such as Momentum."
            )
        if self.objective.symmetric:
            raise ValueError(
                "PairViewsModule: symmetric=True, but each direction is a term of its own; use symmetric=False."
            )
        if self.both_orders or len(self.transforms):
            raise ValueError(
                "PairViewsModule has neither both_orders (name the terms) nor a transform. Leave them out."
            )
        self.terms = None if terms is None else tuple(terms)

    def contrast(self, batch: Mapping[str, Any]) -> list[Contrast]:
        """The terms, in the order given; each kind is encoded once as anchor and once as key."""
        if "negative" in batch:
            raise ValueError(
                f"{type(self).__name__} compares pairs and their views, but the batch has hard negatives, which none of its terms "
                "reads: leave the column negative out, or train them by ContrastiveModule."
            )
        payload = payload_of(batch)
        anchors: dict[str, Tensor] = {}
        keys: dict[str, Tensor] = {}
        out = []
        for name in self._named(batch):
            one, _, two = name.partition("->")
            if one not in anchors:
                anchors[one] = self.project(batch[one])
            if two not in keys:
                keys[two] = self.project_keys(batch[two])
            out.append(Contrast.from_pairs(anchors[one], keys[two], in_batch=self.in_batch, name=name, **payload))
        return out

    def _named(self, batch: Mapping[str, Any]) -> tuple[str, ...]:
        if "views" in batch:
            raise ValueError("PairViewsModule compares pairs, but the batch has views of single samples.")
        one, two = batch_inputs(batch)
        known = {f"{a}->{b}" for a in (one, two) for b in (one, two, f"{one}_view", f"{two}_view") if a != b}
        six = tuple(f"{a}->{b}" for a, b in (
            (two, one), (two, f"{one}_view"), (one, two), (one, f"{two}_view"), (two, f"{two}_view"), (one, f"{one}_view"),
        ))  # fmt: skip
        asked = six if self.terms is None else self.terms
        if set(asked) - known:
            raise ValueError(f"terms: there is no {sorted(set(asked) - known)}; there are {', '.join(six)}.")
        lacking = sorted({name.partition("->")[2] for name in asked} - set(batch))
        if lacking:
            raise ValueError(
                f"the batch lacks {' and '.join(lacking)}, which {self.__class__.__name__} compares with: give the data a view "
                f"(data.view), or only the terms {six[0]} and {six[2]}."
            )
        return asked
