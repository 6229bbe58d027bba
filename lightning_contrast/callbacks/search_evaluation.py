"""Search among all documents at every validation, beside BM25 and the encoder as it was before training."""

import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_contrast.callbacks.beside_untrained import BesideUntrained
from lightning_contrast.callbacks.embedding import embedded, loader_over, own_rows, two_towers
from lightning_contrast.callbacks.questions import asked_once
from lightning_contrast.contrast.exchange import all_sum
from lightning_contrast.data.text_collate import word_rows
from lightning_contrast.functional.bm25 import bm25_topk
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.retrieval import figures_of_ranked, judged_figures, mean_figures, parse_figure

DEPTH = 10


class SearchEvaluation(BesideUntrained):
    """Every validation query searches all documents; logs ``val/ndcg@10`` and whatever else is asked for.

    Beside each figure stand two that say what it is worth: ``val/ndcg@10_untrained``, of the encoder before the first step
    (a pretrained one as it came), and ``val/ndcg@10_bm25``, of a search by words. Both are found once. Needs a DataModule
    with ``corpus_dataloader()`` (:class:`~lightning_contrast.data.TextDataModule`). All
    processes together encode documents and search for queries, with the weights of now, in evaluation mode; similarity is
    the cosine. Every query asks once for all its documents; scores of
    pairs are graded relevance (:func:`~lightning_contrast.callbacks.questions.asked_once`). Not in
    the sanity check. With ``fast_dev_run`` only the first batches of documents and queries are read: the figures then say
    nothing, and where no query has an answer among them there are none.

    Args:
        figures: names such as ``ndcg@10``, ``mrr@10``, ``recall@10``, ``map@100``.
        bm25: whether words are searched too; texts and word numbers can be, and the extra ``bm25`` must be there.
        every_n_epochs: at the validations of every n-th epoch.

    Raises:
        ValueError: for names that there are not, and numbers out of range; before training for data without documents.
    """

    def __init__(
        self, figures: Sequence[str] = ("ndcg@10", "mrr@10", "recall@10"), bm25: bool = True, every_n_epochs: int = 1
    ) -> None:
        for name in figures:
            parse_figure(name)
        super().__init__(every_n_epochs)
        self.figures, self.bm25, self.shown = tuple(figures), bm25, figures[0]
        self._told = False

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Says when there is nothing to search."""
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._documents(trainer)

    # Scoring ------------------------------------------------------------------------------------------------------

    def _documents(self, trainer: Any) -> DataLoader[Any]:
        data: Any = getattr(trainer, "datamodule", None)
        if not hasattr(data, "corpus_dataloader") or not hasattr(data, "val_dataloader"):
            raise ValueError(
                f"SearchEvaluation searches documents, but {type(data).__name__ if data else 'the training'} has none: use a "
                "DataModule with corpus_dataloader() and val_dataloader(), such as TextDataModule on pairs, or remove the "
                "callback."
            )
        return self._few(trainer, data.corpus_dataloader())

    def _queries(self, trainer: Any) -> tuple[DataLoader[Any], Judgements | None]:
        loader, judged = asked_once(trainer.datamodule.val_dataloader(), trainer.datamodule)
        few = self._few(trainer, loader)
        return few, judged if judged is None or few is loader else judged.take(torch.arange(len(few.dataset)))  # type: ignore[arg-type]

    def _few(self, trainer: Any, loader: DataLoader[Any]) -> DataLoader[Any]:
        """In a quick run as many batches a process as it trains on, else the loader as it is."""
        if not trainer.fast_dev_run:
            return loader
        size: Any = loader.batch_size or getattr(loader.batch_sampler, "batch_size", 1)
        rows = int(trainer.fast_dev_run) * size * trainer.world_size
        dataset: Any = loader.dataset
        return loader_over(loader, list(range(min(rows, len(dataset)))))

    def scores(self, trainer: Any, pl_module: Any) -> dict[str, float]:
        """The figures, over all queries that have a relevant document."""
        # what is shipped: features of one encoder; of two towers embeddings, as only there they are comparable
        towers = two_towers(pl_module)

        def documents(batch: Any) -> dict[str, Tensor]:
            encode = pl_module.project_keys if towers else pl_module.embed
            return {"z": encode(batch["document"]).float(), "id": batch["document_id"]}

        def queries(batch: Any) -> dict[str, Tensor]:
            encode = pl_module.project if towers else pl_module.embed
            return {"z": encode(batch["query"]).float(), "id": batch["document_id"]}

        corpus = embedded(trainer, pl_module, self._documents(trainer), documents)
        loader, judged = self._queries(trainer)
        asked = embedded(trainer, pl_module, loader, queries)
        judged = Judgements.of_pairs(asked["id"]) if judged is None else judged.to(pl_module.device)
        mine = own_rows(trainer, torch.arange(len(asked["z"]), device=pl_module.device))
        found, answered = judged_figures(asked["z"][mine], corpus["z"], corpus["id"], judged.take(mine), self.figures)
        sums = all_sum(torch.stack([*(value.sum() for value in found.values()), answered.sum().double()]))
        if not sums[-1]:
            self._tell(len(asked["z"]), len(corpus["z"]))
            return {}
        return {name: float(total / sums[-1]) for name, total in zip(found, sums, strict=False)}

    def _tell(self, queries: int, documents: int) -> None:
        if not self._told:
            rank_zero_warn(
                f"SearchEvaluation: none of the {queries} queries that were read has its document among the {documents} that "
                "were, so there are no figures. Expected with fast_dev_run, which reads a few of each."
            )
        self._told = True

    def others(self, trainer: Any) -> dict[str, float]:
        """The figures of a search by words, ``val/NAME_bm25``."""
        if not self.bm25:
            return {}
        corpus, ids = word_rows(self._documents(trainer), "document")
        loader, judged = self._queries(trainer)
        asked, wanted = word_rows(loader, "query")
        depth = max(parse_figure(name)[1] or DEPTH for name in self.figures)
        try:
            ranked = bm25_topk(asked, corpus, depth).indices
        except ImportError as error:
            rank_zero_warn(f"SearchEvaluation leaves BM25 out: {error}")
            return {}
        judged = Judgements.of_pairs(wanted) if judged is None else judged
        found = mean_figures(figures_of_ranked(ranked, ids, judged, self.figures))
        return {f"val/{name}_bm25": value for name, value in found.items() if math.isfinite(value)}
