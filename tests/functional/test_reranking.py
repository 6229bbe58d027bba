"""Reranking figures beside scikit-learn's, list by list, and beside sentence-transformers' evaluator."""

import numpy as np
import pytest
import torch

from lightning_contrast.functional.reranking import reranking_figures


@pytest.mark.parametrize("ties", [False, True])
def test_list_by_list(ties):
    from sklearn.metrics import average_precision_score, ndcg_score

    generator = torch.Generator().manual_seed(0)
    group = torch.randint(9, (80,), generator=generator) * 7 - 3
    score = torch.randn(80, generator=generator)
    score = (score * 3).round() / 3 if ties else score
    grade = torch.randint(3, (80,), generator=generator).float() * (torch.rand(80, generator=generator) < 0.5)
    grade[group == 4], grade[group == 11] = 0, 1  # nothing to find, nothing to confuse it with
    found = reranking_figures(score, grade, group, 3)
    maps, ndcgs, mrrs = [], [], []
    for number in set(group.tolist()) - {4, 11}:
        scores, grades = score[group == number].numpy(), grade[group == number].numpy()
        maps.append(average_precision_score(grades > 0, scores))
        ndcgs.append(ndcg_score([grades], [scores], k=3))
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], grades[i] > 0))
        mrrs.append(next((1 / (rank + 1) for rank, i in enumerate(order[:3]) if grades[i] > 0), 0))
    expected = {"map": np.mean(maps), "mrr@3": np.mean(mrrs), "ndcg@3": np.mean(ndcgs)}
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)


def test_an_encoder_to_which_all_is_equal_does_not_win():
    found = reranking_figures(torch.ones(4), torch.tensor([1.0, 0, 0, 0]), torch.zeros(4, dtype=torch.int64))
    assert found["mrr@10"] == found["map"] == 0.25
    only_relevant = reranking_figures(torch.ones(1), torch.ones(1), torch.zeros(1, dtype=torch.int64))
    assert all(value.isnan() for value in only_relevant.values())


def test_equals_sentence_transformers():
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(200, 5, generator=generator)
    samples, rows, place = [], [], iter(range(200))
    for query in range(12):
        counts = torch.randint(0 if query % 4 == 0 else 1, 8, (2,), generator=generator).tolist()
        asked = next(place)
        parts = [[next(place) for _ in range(count)] for count in counts]
        samples.append({"query": str(asked), "positive": [*map(str, parts[0])], "negative": [*map(str, parts[1])]})
        rows += [(asked, other, grade, query) for grade, part in ((1, parts[0]), (0, parts[1])) for other in part]
    evaluator = evaluation.RerankingEvaluator(samples, at_k=5, write_csv=False)
    evaluator.embed_inputs = lambda model, texts, **_: vectors[[int(text) for text in texts]]
    theirs = evaluator.compute_metrics(None)
    asked, other, grade, group = torch.tensor(rows).T
    ours = reranking_figures(torch.cosine_similarity(vectors[asked], vectors[other]), grade.float(), group, 5)
    for name, value in (("map", ours["map"]), ("mrr", ours["mrr@5"]), ("ndcg", ours["ndcg@5"])):
        assert float(value) == pytest.approx(theirs[name], abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"k": 0}, "k=0: must be at least 1"),
        ({"score": torch.full((3,), torch.nan)}, "3 of 3 entries of score are not finite"),
        ({"grade": torch.ones(2)}, r"one entry a candidate, \[P\] each"),
    ],
)
def test_bad(bad, words):
    given = {"score": torch.rand(3), "grade": torch.ones(3), "group": torch.zeros(3, dtype=torch.int64), **bad}
    with pytest.raises(ValueError, match=words):
        reranking_figures(**given)
