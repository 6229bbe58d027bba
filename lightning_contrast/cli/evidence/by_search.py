"""Scores of runs on queries and documents: each query searches the whole corpus."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.questions import asked_once
from lightning_contrast.data.text_collate import word_rows
from lightning_contrast.functional.bm25 import bm25_topk
from lightning_contrast.functional.finite import bad_rows, first_of
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.retrieval import figures_of_ranked, judged_figures, mean_figures

FIGURES = ("mrr@10", "ndcg@10", "recall@10")
CURVE = "mrr@10"
LOOK = 1000
"""Queries behind a point of a curve."""


def scores(embed: Callable[[Tensor], Tensor] | None, data: Any, seed: int) -> dict[str, Any]:
    """``val`` and ``test`` figures by cosine, streamed; by BM25 without an encoder."""
    splits = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    figures = search(data, embed)
    return {split: figures(loader) for split, loader in splits.items()}


def look(embed: Callable[[Tensor], Tensor] | None, data: Any) -> float:
    """MRR@10 of the first validation queries among all documents."""
    return search(data, embed)(data.val_dataloader(), LOOK)[CURVE]


def search(data: Any, embed: Callable[[Tensor], Tensor] | None) -> Callable[..., dict[str, float]]:
    """A function from a loader of queries (and how many of them at most) to figures; the corpus is encoded once."""
    documents, ids = read(data.corpus_dataloader(), "document", embed)

    def figures(loader: Any, most: int | None = None) -> dict[str, float]:
        loader, judged = asked_once(loader, data)
        queries, wanted = (part[:most] for part in read(loader, "query", embed))
        judged = Judgements.of_pairs(wanted) if judged is None else judged.take(torch.arange(len(queries)))
        if embed is None:
            return mean_figures(figures_of_ranked(bm25_topk(queries, documents, 10).indices, ids, judged, FIGURES))
        return mean_figures(judged_figures(queries, documents, ids, judged, FIGURES))

    return figures


def read(loader: Any, name: str, embed: Callable[[Tensor], Tensor] | None) -> tuple[Tensor, Tensor]:
    """Embeddings ``[N, D]`` (without an encoder: token numbers ``[N, L]``) and ``document_id`` ``[N]``.

    Raises:
        ValueError: for embeddings that are not finite, naming the samples.
    """
    if embed is None:
        return word_rows(loader, name)
    with torch.inference_mode():
        found = [(embed(batch[name]).float(), batch["document_id"], batch["index"]) for batch in loader]
    rows, ids, index = (torch.cat(parts) for parts in zip(*found, strict=True))
    if len(bad := bad_rows(rows)):
        raise ValueError(
            f"{name}: {len(bad)} of {len(rows)} embeddings are not finite (index {first_of(index[bad])}); is the model sound?"
        )
    return rows, ids
