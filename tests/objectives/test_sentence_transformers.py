"""Values of sentence-transformers, where it is installed: its ranking loss, and its evaluator of retrieval."""

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.functional.retrieval import retrieval_figures
from lightning_contrast.objectives import MultipleNegativesRanking

pytest.importorskip("sentence_transformers")


ALL = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")


@pytest.mark.parametrize("negatives", [0, 2])
@pytest.mark.parametrize(
    ("directions", "mode"),
    [
        (("query_to_doc",), "joint"), (("query_to_doc", "doc_to_query"), "per_direction"), (ALL[:2], "joint"),
        (("query_to_doc", "query_to_query"), "joint"), (("query_to_doc", "doc_to_doc"), "joint"), (ALL, "joint"),
        (("query_to_doc",), "per_direction"),
    ],
)  # fmt: skip
def test_in_batch_negatives(directions, mode, negatives):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    generator = torch.Generator().manual_seed(0)
    q, d, *hard = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(2 + negatives))
    gradients = []
    for theirs in (True, False):
        rows = [x.clone().requires_grad_() for x in (q, d, *hard)]
        if theirs:
            loss = MultipleNegativesRankingLoss(
                torch.nn.Identity(), scale=20.0, directions=directions, partition_mode=mode
            ).compute_loss_from_embeddings(rows, None)
        else:
            extra = {"negatives": torch.stack(rows[2:], 1).flatten(0, 1)} if hard else {}
            contrast = Contrast.from_pairs(rows[0], rows[1], index=torch.arange(7), **extra)
            loss = MultipleNegativesRanking(0.05, directions, mode)(contrast)
        loss.backward()
        gradients.append([loss.detach(), *(row.grad for row in rows)])
    for wanted, found in zip(*gradients, strict=True):
        torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-6, atol=1e-9)


def test_figures_of_retrieval_with_ties_and_several_answers():
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    generator = torch.Generator().manual_seed(0)
    # whole numbers: many documents are equally similar, exactly; ids in the order of rows
    query = torch.randint(-2, 3, (20, 3), generator=generator).double()
    corpus = torch.randint(-2, 3, (200, 3), generator=generator).double()
    query_group, corpus_group = torch.arange(20) % 6, torch.randint(0, 6, (200,), generator=generator)
    corpus_group[corpus_group == 5] = 4
    corpus_group[150] = 5  # one relevant document only
    names = [f"{number:04}" for number in range(200)]
    relevant = {str(q): {names[row] for row in range(200) if corpus_group[row] == query_group[q]} for q in range(20)}
    evaluator = InformationRetrievalEvaluator(
        {str(q): "?" for q in range(20)},
        dict.fromkeys(names, "?"),
        relevant,
        map_at_k=[100],
        mrr_at_k=[10],
        ndcg_at_k=[10],
    )
    listed = [
        [{"corpus_id": name, "score": score} for name, score in zip(names, line, strict=True)]
        for line in (query @ corpus.T).tolist()
    ]
    wanted = evaluator.compute_metrics(listed)
    found = retrieval_figures(
        query, corpus, query_group, corpus_group,
        ["mrr@10", "ndcg@10", "map@100", "recall@5", "precision@10", "hit_rate@3"], normalize=False,
    )  # fmt: skip
    assert float(found["mrr@10"]) == pytest.approx(wanted["mrr@k"][10])
    assert float(found["ndcg@10"]) == pytest.approx(wanted["ndcg@k"][10])
    assert float(found["map@100"]) == pytest.approx(wanted["map@k"][100])
    assert float(found["recall@5"]) == pytest.approx(wanted["recall@k"][5])
    assert float(found["precision@10"]) == pytest.approx(wanted["precision@k"][10])
    assert float(found["hit_rate@3"]) == pytest.approx(wanted["accuracy@k"][3])
