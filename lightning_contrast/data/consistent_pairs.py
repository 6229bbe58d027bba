"""Pairs of texts that another encoder finds to belong together."""

from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info

from lightning_contrast.data.derived_texts import DerivedTextDataModule
from lightning_contrast.data.text_datamodule import TextDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.text_sets import Numbers
from lightning_contrast.data.text_vectors import TextVectors, WordVectors
from lightning_contrast.functional.own_rank import own_rank


class ConsistentPairs(DerivedTextDataModule):
    """Training pairs of another data module whose document a proxy finds for their query; the others are left out.

    A pair stays if its document is among the `rank` nearest of all training documents by cosine, and at least `threshold`
    near (Suresh et al., "CoRNStack: High-Quality Contrastive Data for Better Code Ranking", ICLR 2025, section 3). Validation
    and test pairs stay as they are.

    Sure: medium for rank and threshold.

    Args:
        pairs_of: whose pairs.
        rank: ``k`` >= 1; ``None`` asks for no rank.
        threshold: cosine in [-1, 1]; -1 keeps all. What is near differs from proxy to proxy: 0.7 in the paper.
        proxy: ``None`` is :class:`~lightning_contrast.data.WordVectors`; a pretrained encoder is
            :class:`~lightning_contrast.data.EmbeddedBy`.
        **settings: as of :class:`TextDataModule`, but for its sources.

    Raises:
        ValueError: for numbers out of range.
        TextDataError: for single texts, or if nothing is left.
    """

    def __init__(
        self,
        pairs_of: TextDataModule,
        rank: int | None = 2,
        threshold: float = 0.7,
        proxy: TextVectors | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(pairs_of, **settings)
        if (rank is not None and rank < 1) or not -1 <= threshold <= 1:
            raise ValueError(f"rank={rank}, threshold={threshold}: need a rank >= 1 or None, and a cosine in [-1, 1].")
        self.rank, self.threshold = rank, threshold
        self.proxy: TextVectors = WordVectors() if proxy is None else proxy

    def read(self) -> tuple[dict[str, TextRows], dict[Any, str]]:
        """Rows by split, those of training filtered; documents that are left out for training are not searched either."""
        rows, more = self.texts_of.read()
        if any(one.plain for one in rows.values()):
            raise TextDataError(f"ConsistentPairs: {type(self.texts_of).__name__} has single texts; give pairs.")
        if len(rows) == 1:
            rows = self.texts_of._split(rows["train"])
        kept = self._of_one_process(rows["train"])
        told = f"{len(kept)} of {len(rows['train'])} training pairs consistent"
        if not kept:
            raise TextDataError(f"rank={self.rank}, threshold={self.threshold}: {told}; ask for less.")
        self.source = f"{self.texts_of.source}, {told}"
        rank_zero_info(f"ConsistentPairs: {told}.")
        return {**rows, "train": rows["train"].take(kept)}, more

    def _of_one_process(self, rows: TextRows) -> list[int]:
        """Asked once, and the same everywhere: a proxy's rounding may differ, and so would the number of batches."""
        if self.trainer is None or self.trainer.world_size == 1:
            return self.consistent(rows)
        found = self.consistent(rows) if self.trainer.is_global_zero else []
        return self.trainer.strategy.broadcast(found)

    def consistent(self, rows: TextRows) -> list[int]:
        """The rows that stay."""
        numbers = Numbers()
        own = numbers.of(rows.document)
        asked = list(dict.fromkeys(rows.query))
        place = {text: number for number, text in enumerate(asked)}
        vectors = self.proxy([*asked, *numbers.texts])
        query, document = vectors[: len(asked)], vectors[len(asked) :]
        found = own_rank(query[[place[text] for text in rows.query]], document, torch.tensor(own))
        keep = found.similarity >= self.threshold
        if self.threshold == -1:
            keep = torch.ones_like(keep)  # rounding puts opposite vectors a little beyond
        if self.rank is not None:
            keep &= found.rank <= self.rank
        return keep.nonzero().flatten().tolist()
