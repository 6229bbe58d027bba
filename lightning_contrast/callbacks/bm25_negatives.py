"""Static negatives: those that share words, found once before training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_contrast.callbacks.embedding import first_input, key_input
from lightning_contrast.callbacks.hard_negative_refresh import HardNegativeRefresh
from lightning_contrast.callbacks.keys import KNOWN
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.functional.bm25 import bm25_topk, require_bm25


class BM25Negatives(HardNegativeRefresh):
    """Each query gets the documents that BM25 finds for it, other than its own, and keeps them.

    As in "Dense Passage Retrieval" (Karpukhin et al. 2020). They are encoded anew in each step and trained on, as those of
    :class:`HardNegativeRefresh` with ``gradient=True``: only where they come from differs. For texts, by their words, and for
    pairs of token numbers, padded with 0. Every process searches for itself. State: the table, so that a resumed run does not
    search again.

    Args:
        num_negatives: for each sample, >= 1.
        range_min: leave out so many of the best documents that are left.
        range_max: look at so many; ``None`` is ``range_min + 10 * num_negatives``.
        same_label: leave out samples of the anchor's ``label``.

    Raises:
        ValueError: for values out of range; before training for inputs that are no pairs of token numbers.
        ImportError: without bm25s, naming the extra.
    """

    def __init__(
        self, num_negatives: int = 4, range_min: int = 0, range_max: int | None = None, same_label: bool = False
    ) -> None:
        super().__init__(num_negatives, range_min, range_max, same_label=same_label, gradient=True)
        require_bm25()
        self._range = range_min, range_min + 10 * num_negatives if range_max is None else range_max
        self._same_label = same_label

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Searches, unless a checkpoint brought the table."""
        super().on_train_start(trainer, pl_module)
        if self.table is not None:
            return
        assert self._source is not None
        data = read_tokens(self._source)
        if self._same_label and "label" not in data:
            raise ValueError("BM25Negatives(same_label=True): the data set yields no 'label'.")
        self._take_up(self.found(data), data)

    def found(self, data: dict[str, Tensor]) -> Tensor:
        """Rows ``[N, num_negatives]`` of each sample's negatives, best first; -1 where there is none.

        Args:
            data: ``query`` ``[N, L]`` and ``document`` ``[N, M]``, and ``label`` ``[N]`` for that rule.
        """
        low, high = self._range
        rows = bm25_topk(data["query"].cpu(), data["document"].cpu(), high + 1).indices.to(data["index"].device)
        own = torch.arange(len(rows), device=rows.device)[:, None]
        keep = (rows >= 0) & (rows != own)
        if self._same_label:
            label = data["label"]
            keep &= (label[rows.clamp(min=0)] != label[:, None]) | (label[:, None] < 0)
        place = keep.long().cumsum(1) - 1
        keep &= (place >= low) & (place < low + self.num_negatives)
        order = torch.where(keep, place, rows.shape[1]).argsort(dim=1, stable=True)[:, : self.num_negatives]
        return rows.gather(1, order).masked_fill(~keep.gather(1, order), -1)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Nothing: they stay."""


def read_tokens(source: DataLoader[Any]) -> dict[str, Tensor]:
    """``query`` and ``document``, padded to one width, and ``index``, ``label`` and ids, as far as there, of all samples.

    Raises:
        ValueError: for inputs that are no pairs of token numbers.
    """
    columns: dict[str, list[Tensor]] = {}
    collate: Any = source.collate_fn
    if hasattr(collate, "for_words"):  # an encoder's pieces of words would do BM25 wrong
        collate = collate.for_words()
    with isolated_random_state(0):
        for batch in DataLoader(source.dataset, source.batch_size, collate_fn=collate, generator=torch.Generator()):
            known = {key: batch[key] for key in KNOWN if isinstance(batch.get(key), Tensor)}
            for key, value in {**known, "query": first_input(batch), "document": key_input(batch)}.items():
                if key not in known and (
                    not isinstance(value, Tensor) or value.dim() != 2 or value.is_floating_point()
                ):
                    raise ValueError(
                        "BM25Negatives needs pairs of token numbers, integers [N, L] padded with 0, such as 'query' and "
                        f"'document'; the data set yields {sorted(batch)}."
                    )
                columns.setdefault(key, []).append(value)
    widths = {key: max(part.shape[1] for part in columns[key]) for key in ("query", "document")}
    return {
        key: torch.cat([F.pad(p, (0, widths[key] - p.shape[1])) if key in widths else p for p in parts])
        for key, parts in columns.items()
    }
