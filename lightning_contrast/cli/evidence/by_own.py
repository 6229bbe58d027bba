"""Scores of recipes on texts, each on its own data: a validation figure before the first step and after the last."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.embedding import evaluation_mode, two_towers
from lightning_contrast.callbacks.questions import asked_once
from lightning_contrast.cli.evidence.clock import Clock
from lightning_contrast.cli.evidence.job import Job
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.retrieval import judged_figures, mean_figures
from lightning_contrast.metrics import PairCorrelation

SEARCH, GRADED, LOSS = "ndcg@10", "spearman", "loss"


def run(job: Job) -> dict[str, Any]:
    """Score, train, score; a line of the records, whose curve has these two points."""
    from lightning_contrast.cli.evaluate import source_of
    from lightning_contrast.cli.evidence.run import learns_labels, made

    assert job.steps is not None, "read_study asks for it"
    # another module of the same seed is scored first, so that its validation leaves no trace in the training
    first, clock = made(job, job.steps, Clock(), validates=True), Clock(job.steps)
    cli = made(job, job.steps, clock, validates=True)
    data = cli.datamodule
    data.prepare_data()
    data.setup("fit")
    name = figure_of(data)
    before = measured(name, first, data)
    cli.trainer.fit(cli.model, data)
    after = measured(name, cli, data)
    return {
        "slug": job.slug,
        "seed": job.seed,
        "setting": job.setting,
        "fingerprint": job.fingerprint(),
        "labels": learns_labels(cli),
        "steps": cli.trainer.global_step,
        "seconds": round(clock.seconds, 2),
        "wall": round(clock.wall, 2),
        "memory": round(clock.memory, 1),
        "data": source_of(data).partition(" in ")[0],
        "curve": [(0, 0.0, before), (1, round(clock.seconds, 2), after)],
        "curve_of": name,
        "val": {name: after},
        "test": {},
    }


def figure_of(data: Any) -> str:
    """Spearman where pairs have scores, nDCG@10 where there are pairs to search, else the loss."""
    batch = next(iter(data.val_dataloader()))
    if "score" in batch and "query" in batch:  # scores of other than pairs, such as of two texts with a third: the loss
        return GRADED
    return SEARCH if hasattr(data, "corpus_dataloader") else LOSS


def measured(name: str, cli: Any, data: Any) -> float:
    """The figure on the validation split, with the weights of now."""
    module = cli.model
    if name == LOSS:
        with isolated_random_state(0):
            return float(cli.trainer.validate(module, data, verbose=False)[0]["val/loss"])
    towers = two_towers(module)
    query = module.project if towers else module.embed
    document = module.project_keys if towers else module.embed
    with isolated_random_state(0), evaluation_mode(module), torch.inference_mode():
        return rank_agreement(query, document, data) if name == GRADED else found(query, document, data)


def found(query: Callable[[Any], Tensor], document: Callable[[Any], Tensor], data: Any) -> float:
    """nDCG@10 of the validation queries among all documents, by cosine."""
    corpus = [(document(batch["document"]).float(), batch["document_id"]) for batch in data.corpus_dataloader()]
    loader, judged = asked_once(data.val_dataloader(), data)
    asked = [(query(batch["query"]).float(), batch["document_id"]) for batch in loader]
    (keys, ids), (queries, wanted) = (map(torch.cat, zip(*part, strict=True)) for part in (corpus, asked))
    judged = Judgements.of_pairs(wanted) if judged is None else judged
    return mean_figures(judged_figures(queries, keys, ids, judged, (SEARCH,)))[SEARCH]


def rank_agreement(query: Callable[[Any], Tensor], document: Callable[[Any], Tensor], data: Any) -> float:
    """Spearman's correlation of the pairs' cosines with their scores."""
    metric = PairCorrelation()
    for batch in data.val_dataloader():
        metric.update(query(batch["query"]), document(batch["document"]), batch["score"])
    return float(metric.compute())
