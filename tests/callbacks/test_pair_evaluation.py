"""PairEvaluation and graded search in training: against plain loops, beside the untrained encoder, two processes, misuse."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from scipy.stats import pearsonr, spearmanr

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import PairEvaluation, SearchEvaluation
from lightning_contrast.cli.by_pairs import of_queries
from lightning_contrast.data import HashedWords, TextDataModule, WordNetDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.objectives import InfoNCE
from tests.data.wordnet_sample import write_wordnet

WORDS = HashedWords(words=500)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(write_wordnet(tmp_path_factory.mktemp("wordnet")))


def data(root, task, subset=None):
    return WordNetDataModule(task, root=root, subset=subset, tokenizer=WORDS, batch_size=7)


def fitted(texts, callback, lr=0.05, **settings):
    torch.manual_seed(0)
    module = ContrastiveModule(
        BagOfWords(words=500, output_dim=8), InfoNCE(), optimizer=partial(torch.optim.Adam, lr=lr)
    )
    trainer = Trainer(
        max_epochs=1, limit_train_batches=3, callbacks=[callback], logger=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", enable_checkpointing=False, num_sanity_val_steps=0, **settings,
    )  # fmt: skip
    trainer.fit(module, texts)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}, module.encoder


@torch.no_grad()
def correlations(encoder, texts):
    rows = [texts._sets["val"][number] for number in range(len(texts._sets["val"]))]
    cosine = [
        float(torch.cosine_similarity(encoder(WORDS([r["query"]])), encoder(WORDS([r["document"]])))) for r in rows
    ]
    score = [row["score"] for row in rows]
    return spearmanr(cosine, score).statistic, pearsonr(cosine, score).statistic


@torch.no_grad()
def graded(encoder, texts):
    """nDCG@10 and recall@10 with the grades of the rows: every query alone, every document looked at."""
    rows = [texts._sets["val"][number] for number in range(len(texts._sets["val"]))]
    documents = texts._numbers.texts
    z = torch.cat([encoder(WORDS([text])) for text in documents])
    judged: dict[str, dict[int, float]] = {}
    for row in rows:
        judged.setdefault(row["query"], {})[row["document_id"]] = row.get("score", 1.0)
    ndcg, recall = [], []
    for query, grades in judged.items():
        order = torch.cosine_similarity(encoder(WORDS([query])), z).argsort(descending=True, stable=True)[:10].tolist()
        gained = sum(grades.get(number, 0) / math.log2(rank + 2) for rank, number in enumerate(order))
        best = sorted(grades.values(), reverse=True)
        ndcg.append(gained / sum(grade / math.log2(rank + 2) for rank, grade in enumerate(best)))
        recall.append(len(set(order) & set(grades)) / len(grades))
    return sum(ndcg) / len(ndcg), sum(recall) / len(recall)


def test_correlations_of_now_beside_those_before_training(root):
    texts = data(root, "similarity")
    torch.manual_seed(0)
    before = BagOfWords(words=500, output_dim=8)
    logged, encoder = fitted(texts, PairEvaluation())
    assert (logged["val/spearman"], logged["val/pearson"]) == pytest.approx(correlations(encoder, texts), abs=1e-5)
    untrained = (logged["val/spearman_untrained"], logged["val/pearson_untrained"])
    assert untrained == pytest.approx(correlations(before, texts), abs=1e-5)
    assert untrained[0] != logged["val/spearman"]


def test_broader_meanings_are_graded(root):
    texts = data(root, "broader")
    logged, encoder = fitted(texts, SearchEvaluation(["ndcg@10", "recall@10"], bm25=False))
    found = texts._sets["val"].rows.known["score"]
    assert set(found) == {3.0, 2.0}, "things have a kind above them, and the root above it"
    assert (logged["val/ndcg@10"], logged["val/recall@10"]) == pytest.approx(graded(encoder, texts), abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*figures will flatter")
def test_a_query_of_several_pairs_asks_once_for_all_their_documents():
    """As a search that knows each query's set of relevant documents; row by row its other documents would be errors."""
    things = ["cat", "dog", "map", "ship", "song", "tree"]
    rows = [{"query": f"about {one}", "document": f"{one} {two}"} for one in things for two in things[: len(one)]]
    texts = TextDataModule([*rows, rows[0]], val=[*rows, rows[0]], test=rows, tokenizer=WORDS, batch_size=4)
    logged, encoder = fitted(texts, SearchEvaluation(["ndcg@10", "recall@10"], bm25=False), lr=0.0)
    assert (logged["val/ndcg@10"], logged["val/recall@10"]) == pytest.approx(graded(encoder, texts), abs=1e-6)
    (values, answered), index, _ = of_queries(ContrastiveModule(encoder, InfoNCE()), texts, texts.val_dataloader())
    assert answered.tolist() == [True] * len(things)
    assert index.tolist() == [
        next(at for at, row in enumerate(rows) if row["query"] == f"about {one}") for one in things
    ]
    assert float(values["ndcg@10"].mean()) == pytest.approx(logged["val/ndcg@10"], abs=1e-6)


@pytest.mark.parametrize("task", ["similarity", "broader"])
def test_two_processes_are_one(root, task):
    search = partial(SearchEvaluation, ["ndcg@10", "map@100"], bm25=False)
    callback = PairEvaluation if task == "similarity" else search
    found = []
    for many in ({}, {"strategy": "ddp_fork", "devices": 2}):
        texts = data(root, task, 180)
        texts.setup()
        logged, _ = fitted(texts, callback(), lr=0.0, **many)
        found.append({name: value for name, value in logged.items() if name[:4] == "val/" and name != "val/loss"})
    queries = texts._sets["val"].judged()[1].queries if task == "broader" else len(texts._sets["val"])
    assert queries % 2, "uneven"
    assert len(found[0]) == 4
    assert found[1] == pytest.approx(found[0], abs=1e-6)


ROWS = [{"query": f"q{n}", "document": f"d{n}"} for n in range(8)]


@pytest.mark.filterwarnings("ignore:.*figures will flatter")
def test_misuse():
    bare = TextDataModule(ROWS, val=ROWS, test=ROWS, tokenizer=WORDS, batch_size=4)
    with pytest.raises(ValueError, match=r"TextDataModule's validation data have \['document', .* a column 'score'"):
        fitted(bare, PairEvaluation())
    equal = [{**row, "score": 1} for row in ROWS]
    with pytest.raises(ValueError, match="scores are all equal"):
        fitted(TextDataModule(equal, val=equal, test=equal, tokenizer=WORDS, batch_size=4), PairEvaluation())
    none = [{**row, "score": -1} for row in ROWS]
    with pytest.raises(ValueError, match=r"no score of the split is above relevant_above=0\.0"):
        fitted(TextDataModule(none, val=none, test=none, tokenizer=WORDS, batch_size=4), SearchEvaluation(bm25=False))
    with pytest.raises(ValueError, match="relevant_above=-1"):
        TextDataModule(ROWS, relevant_above=-1)
