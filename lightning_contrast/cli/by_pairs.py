"""Evaluation of runs on pairs: by search among all documents, by graded pairs, by each query's own candidates, both ways."""

import warnings
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.questions import asked_once
from lightning_contrast.cli.evidence.by_search import FIGURES, read, search
from lightning_contrast.cli.protocol import untrained
from lightning_contrast.cli.shipped import Shipped, default_space
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.retrieval import judged_figures, mean_figures
from lightning_contrast.metrics import PairCorrelation, Reranking, TwoWayAgreement

Rows = dict[str, dict[str, float]]
Found = tuple[dict[str, Tensor], Tensor]


def searched(module: Any, data: Any, queries: Any, seed: int = 0, both_ways: bool = False) -> tuple[Rows, int]:
    """The encoder, the same untrained, and BM25: every query searches the whole corpus; and what the pairs say besides."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = untrained(module)
    rows: Rows = {}
    for name, one in (("this encoder", module), ("untrained encoder", random)):
        found = of_queries(one, data, queries)[0]
        rows[name] = {**of_pairs(one, data, queries, both_ways), **mean_figures(found)}
    lonely = int((~found[1]).sum())
    if lonely:
        warnings.warn(f"{lonely} of {len(found[1])} queries have no relevant document and are left out.", stacklevel=2)
    try:
        rows["BM25"] = search(data, None)(queries)
    except ImportError as error:
        warnings.warn(f"a row is left out: {error}", stacklevel=2)
    return rows, int(found[1].sum())


def of_queries(module: Any, data: Any, queries: Any) -> tuple[Found, Tensor, Tensor]:
    """Search figures of each query and whether it has an answer; ids of the queries, and of the documents of their pairs."""
    space = default_space(module.eval())
    loader, judged = asked_once(queries, data)
    documents, ids = read(data.corpus_dataloader(), "document", Shipped(module, "document", space))
    asked, wanted = read(loader, "query", Shipped(module, "query", space))
    judged = Judgements.of_pairs(wanted) if judged is None else judged
    index = torch.cat([batch["index"] for batch in loader])
    return judged_figures(asked, documents, ids, judged, FIGURES), index, wanted


@torch.inference_mode()
def of_pairs(module: Any, data: Any, pairs: Any, both_ways: bool = False) -> dict[str, float]:
    """What pairs say without a search, as far as they say it.

    ``spearman`` and ``pearson`` of cosines and scores, where pairs have a ``score`` and not all the same; ``rerank_...`` of
    the documents of one query among themselves, where some are relevant (by score) and others (or hard negatives) are not;
    ``recall@1``, ``recall@1_back`` and ``mrv``, the pairs of a split searching each other, if `both_ways`, and for data that
    say so.
    """
    space = default_space(module.eval())
    query, document = Shipped(module, "query", space), Shipped(module, "document", space)
    above, both_ways = getattr(data, "relevant_above", 0.0), both_ways or getattr(data, "both_ways", False)
    spearman, pearson, rerank, agreement = PairCorrelation(), PairCorrelation("pearson"), Reranking(), TwoWayAgreement()
    told: set[int] = set()
    for batch in pairs:
        if not both_ways and not {"score", "negative"} & set(batch):
            return {}
        z, d, score = query(batch["query"]).float(), document(batch["document"]).float(), batch.get("score")
        group = batch.get("query_id", batch["index"])
        if score is not None:
            spearman.update(z, d, score)
            pearson.update(z, d, score)
        grade = torch.ones(len(z)) if score is None else torch.where(score > above, score, 0.0)
        rerank.update(z, d, grade, group)
        if "negative" in batch:
            others = document(batch["negative"]).float()
            rows = torch.arange(len(z)).repeat_interleave(len(others) // len(z))
            rerank.update(z[rows], others, torch.zeros(len(rows)), group[rows])
        if both_ways:
            new = [at for at, number in enumerate(batch["document_id"].tolist()) if number not in told]
            told.update(batch["document_id"].tolist())
            agreement.update(z[new], d[new])
    out: dict[str, float] = {}
    if score is not None and len(spearman.rows("scores").unique()) > 1:
        out |= {"spearman": float(spearman.compute()), "pearson": float(pearson.compute())}
    figures = {f"rerank_{name}": float(value) for name, value in rerank.compute().items()}
    out |= figures if figures["rerank_map"] == figures["rerank_map"] else {}  # nan: no query has both kinds
    return out | ({name: float(value) for name, value in agreement.compute().items()} if both_ways else {})
