"""Which queries a search is evaluated by, and what is relevant to them."""

from typing import Any

from torch.utils.data import DataLoader

from lightning_contrast.callbacks.embedding import loader_over
from lightning_contrast.functional.judgements import Judgements


def asked_once(loader: DataLoader[Any], data: Any) -> tuple[DataLoader[Any], Judgements | None]:
    """The queries of a split of pairs, and how relevant which documents are to them.

    Pairs with scores are judgements: every different query asks once, for all documents whose score is above the data's
    ``relevant_above``. Pairs without are questions of their own, each for its own document (None).

    Raises:
        ValueError: where no document of the split is relevant.
    """
    graded = getattr(loader.dataset, "judged", None)
    above = getattr(data, "relevant_above", 0.0)
    found = None if graded is None else graded(above)
    if found is None:
        return loader, None
    rows, judged = found
    if not len(judged.keys):
        raise ValueError(
            f"no score of the split is above relevant_above={above}, so no document is relevant to a query: set a lower one."
        )
    return loader_over(loader, rows), judged
