"""Which queries a search is evaluated by, and what is relevant to them."""

from typing import Any

from torch.utils.data import DataLoader

from lightning_contrast.callbacks.embedding import loader_over
from lightning_contrast.functional.judgements import Judgements


def asked_once(loader: DataLoader[Any], data: Any) -> tuple[DataLoader[Any], Judgements | None]:
    """The queries of a split of pairs, and how relevant which documents are to them.

    Every different query asks once: for the documents of all its pairs, or, where pairs have scores, for those whose score
    is above the data's ``relevant_above``. Of data that do not say which queries are equal (a data set without ``judged``)
    every row is a question of its own, for its own document (None).

    Raises:
        ValueError: where no document of the split is relevant.
    """
    judge = getattr(loader.dataset, "judged", None)
    above = getattr(data, "relevant_above", 0.0)
    if judge is None:
        return loader, None
    rows, judged = judge(above)
    if not len(judged.keys):
        raise ValueError(
            f"no score of the split is above relevant_above={above}, so no document is relevant to a query: set a lower one."
        )
    return loader_over(loader, rows), judged
