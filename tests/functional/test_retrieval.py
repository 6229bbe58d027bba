import math

import pytest
import torch
import torch.nn.functional as F
from torchmetrics import retrieval as reference

from lightning_contrast.functional import rank_variance, ranking
from lightning_contrast.functional import retrieval as module
from lightning_contrast.functional.judgements import Judgements
from lightning_contrast.functional.rank_variance import mean_rank_variance, ranks_of_match
from lightning_contrast.functional.retrieval import (
    figures_of_ranked,
    judged_figures,
    mean_figures,
    relevant_counts,
    retrieval_figures,
)

torch.manual_seed(0)
QUERY, CORPUS = torch.randn(30, 8), torch.randn(90, 8)
QUERY_GROUP, CORPUS_GROUP = torch.randint(7, (30,)), torch.randint(7, (90,))
SCORES = F.normalize(QUERY, dim=1) @ F.normalize(CORPUS, dim=1).T
RELEVANT = QUERY_GROUP[:, None] == CORPUS_GROUP


def torchmetrics_value(metric):  # shifted scores: its MAP drops documents whose score is not above 0
    rows = torch.arange(30)[:, None].expand(-1, 90)
    metric.update(SCORES.flatten() + 2, RELEVANT.flatten(), indexes=rows.flatten())
    return float(metric.compute())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("precision@1", lambda: reference.RetrievalPrecision(top_k=1)),
        ("precision@10", lambda: reference.RetrievalPrecision(top_k=10)),
        ("recall@5", lambda: reference.RetrievalRecall(top_k=5)),
        ("hit_rate@3", lambda: reference.RetrievalHitRate(top_k=3)),
        ("mrr@10", lambda: reference.RetrievalMRR(top_k=10)),
        ("ndcg@10", lambda: reference.RetrievalNormalizedDCG(top_k=10)),
        ("map@100", lambda: reference.RetrievalMAP(top_k=90)),
        ("r_precision", lambda: reference.RetrievalRPrecision()),
    ],
)
def test_equals_torchmetrics(monkeypatch, name, other):
    monkeypatch.setattr(module, "QUERIES", 7)
    found = retrieval_figures(QUERY, CORPUS, QUERY_GROUP, CORPUS_GROUP, [name])
    assert float(found[name]) == pytest.approx(torchmetrics_value(other()), abs=1e-6)


def test_map_below_the_cut_off_in_both_rules():
    row = SCORES.sort(dim=1, descending=True).indices
    hits, total = RELEVANT.gather(1, row), RELEVANT.sum(1)
    theirs = torchmetrics_value(reference.RetrievalMAP(top_k=5))
    assert float(ranking.average_precision_at(hits, total, 5, over="retrieved").mean()) == pytest.approx(theirs)
    by_loop = []
    for hit, n in zip(hits[:, :5].tolist(), total.tolist(), strict=True):
        found = [sum(hit[: r + 1]) / (r + 1) for r in range(5) if hit[r]]
        by_loop.append(sum(found) / min(5, n))
    figures = retrieval_figures(QUERY, CORPUS, QUERY_GROUP, CORPUS_GROUP, ["map@5"])
    assert float(figures["map@5"]) == pytest.approx(sum(by_loop) / 30)


def test_map_at_r_by_hand_and_by_loop():
    hits = torch.tensor([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    assert ranking.map_at_r(hits, torch.tensor([2, 2, 2])).tolist() == [0.5, 1.0, 0.0]
    row = SCORES.sort(dim=1, descending=True).indices
    ranked = RELEVANT.gather(1, row).tolist()
    values = []
    for hit in ranked:
        r = sum(hit)
        values.append(sum(sum(hit[: i + 1]) / (i + 1) for i in range(r) if hit[i]) / r)
    figures = retrieval_figures(QUERY, CORPUS, QUERY_GROUP, CORPUS_GROUP, ["map@r"])
    assert float(figures["map@r"]) == pytest.approx(sum(values) / 30)


def test_graded_ndcg_equals_scikit_learn():
    from sklearn.metrics import ndcg_score

    gains = torch.randint(4, (30, 90), generator=torch.Generator().manual_seed(1))
    expected = ndcg_score(gains.numpy(), SCORES.numpy(), k=10)
    ranked = gains.gather(1, SCORES.sort(dim=1, descending=True).indices)
    found = ranking.ndcg_at(ranked, gains.sort(dim=1, descending=True).values, 10)
    assert float(found.mean()) == pytest.approx(float(expected))


def test_a_query_is_not_its_own_answer_and_lonely_queries_do_not_count():
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    group, ids = torch.tensor([0, 0, 1]), torch.arange(3)
    found = retrieval_figures(z, z, group, group, ["precision@1"], query_ids=ids, corpus_ids=ids)
    assert float(found["precision@1"]) == 1  # over two queries; the third has no partner
    assert relevant_counts(group, group, ids, ids).tolist() == [1, 1, 0]
    assert relevant_counts(group, group).tolist() == [2, 2, 1]


GRADES = torch.randint(-1, 4, (30, 90), generator=torch.Generator().manual_seed(2)).float()
GRADES[GRADES == 1] = 0.5
GRADES[4] = 0  # a query that nothing is relevant to
IDS = torch.randperm(90, generator=torch.Generator().manual_seed(3)) * 7 - 100
PAIR = torch.stack(torch.meshgrid(torch.arange(30), torch.arange(90), indexing="ij")).flatten(1)
JUDGED = Judgements(PAIR[0], IDS[PAIR[1]], GRADES[PAIR[0], PAIR[1]], 30)
NAMES = ["ndcg@10", "mrr@10", "recall@5", "precision@3", "hit_rate@1", "map@10", "map@r", "r_precision"]


def test_graded_relevance_by_a_plain_loop(monkeypatch):
    monkeypatch.setattr(module, "QUERIES", 7)
    found, answered = judged_figures(QUERY, CORPUS, IDS, JUDGED, NAMES)
    assert answered.tolist() == [row != 4 for row in range(30)]
    for q in range(30):
        order = sorted(range(90), key=lambda d: -float(SCORES[q, d]))
        gains = [max(float(GRADES[q, d]), 0.0) for d in order]
        best, hits = sorted(gains, reverse=True), [gain > 0 for gain in gains]
        ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(best[:10]))
        gained = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains[:10]))
        assert float(found["ndcg@10"][q]) == pytest.approx(gained / ideal if ideal else 0)
        first = next((rank for rank, hit in enumerate(hits[:10]) if hit), None)
        assert float(found["mrr@10"][q]) == pytest.approx(0 if first is None else 1 / (first + 1))
        assert float(found["recall@5"][q]) == pytest.approx(sum(hits[:5]) / max(sum(hits), 1))
        precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(10) if hits[rank]]
        assert float(found["map@10"][q]) == pytest.approx(sum(precisions) / max(min(10, sum(hits)), 1))
    row = SCORES.sort(dim=1, descending=True).indices
    again, also = figures_of_ranked(row, IDS, JUDGED, NAMES)
    assert torch.equal(answered, also)
    torch.testing.assert_close(again, found)


def test_graded_ndcg_equals_torchmetrics():
    rows = torch.arange(30)[:, None].expand(-1, 90)
    metric = reference.RetrievalNormalizedDCG(top_k=10, empty_target_action="skip")
    metric.update(SCORES.flatten(), GRADES.clamp(min=0).flatten(), indexes=rows.flatten())
    found = mean_figures(judged_figures(QUERY, CORPUS, IDS, JUDGED, ["ndcg@10"]))
    assert found["ndcg@10"] == pytest.approx(float(metric.compute()), abs=1e-6)


def test_judgements_by_hand():
    judged = Judgements(torch.tensor([1, 0, 1, 1]), torch.tensor([9, 5, 7, 9]), torch.tensor([1.0, 2.0, -1.0, 4.0]), 3)
    assert judged.relevant.tolist() == [1, 1, 0], "of a pair given twice the larger grade, once"
    assert judged.ideal(2).tolist() == [[2, 0], [4, 0], [0, 0]]
    assert judged.take(torch.tensor([2, 1])).gains(torch.tensor([[9], [9]])).tolist() == [[0], [4]]
    assert judged.among(torch.tensor([5, 6])).relevant.tolist() == [1, 0, 0]
    assert Judgements.of_pairs(torch.tensor([3, 3])).gains(torch.tensor([[3, -1], [4, 3]])).tolist() == [[1, 0], [0, 1]]
    for bad, words in (((torch.tensor([3]), torch.tensor([1]), torch.ones(1), 3), "rows from 3 to 3; there are 3"),
                       ((torch.tensor([0]), torch.tensor([1]), torch.tensor([torch.nan]), 3), "not finite"),
                       ((torch.tensor([0]), torch.tensor([1, 2]), torch.ones(1), 3), "one entry a pair")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Judgements(*bad)


def test_pairs_have_the_figures_of_their_groups():
    names = ["mrr@10", "ndcg@10", "recall@10", "map@10"]
    wanted, ids = torch.randint(90, (30,)), torch.arange(90)
    expected = retrieval_figures(QUERY, CORPUS, wanted, ids, names)
    judged = Judgements.of_pairs(wanted)
    assert mean_figures(judged_figures(QUERY, CORPUS, ids, judged, names)) == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )
    nothing = torch.full((30, 10), -1)
    assert all(value == 0 for value in mean_figures(figures_of_ranked(nothing, ids, judged, names)).values())
    with pytest.raises(ValueError, match="30 queries judged; got"):
        judged_figures(QUERY, CORPUS, ids, judged.take(torch.arange(3)))


@pytest.mark.parametrize("name", ["mrr", "mrr@0", "mrr@x", "f1@3"])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=f"unknown retrieval figure '{name}'; allowed are r_precision"):
        retrieval_figures(QUERY, CORPUS, QUERY_GROUP, CORPUS_GROUP, [name])


def test_bad_input():
    with pytest.raises(ValueError, match=r"query_group must have one entry a row, \[30\]; got \(90,\)"):
        retrieval_figures(QUERY, CORPUS, CORPUS_GROUP, CORPUS_GROUP)
    with pytest.raises(ValueError, match="hits holds 2 ranks, but a query has 3"):
        ranking.r_precision(torch.ones(1, 2), torch.tensor([3]))


def test_rank_of_the_match_and_its_variance_over_languages(monkeypatch):
    monkeypatch.setattr(rank_variance, "DOCUMENTS", 4)
    generator = torch.Generator().manual_seed(0)
    corpus, query = torch.randn(9, 4, generator=generator), torch.randn(27, 4, generator=generator)
    corpus[5] = corpus[2]  # a tie: the earlier row is before
    match = torch.arange(27) % 9
    found = ranks_of_match(query, corpus, match)
    for q in range(27):
        scores = [float(torch.cosine_similarity(query[q], corpus[row], dim=0)) for row in range(9)]
        scores[5] = scores[2]
        order = sorted(range(9), key=lambda row: (-scores[row], row))
        assert int(found[q]) == 1 + order.index(int(match[q]))
    table = found.view(3, 9).T
    by_hand = sum((r - sum(row) / 3) ** 2 for row in table.tolist() for r in row) / 27
    assert float(mean_rank_variance(table)) == pytest.approx(by_hand)
    assert float(mean_rank_variance(torch.tensor([[1, 3, 2]]))) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="one column a language"):
        mean_rank_variance(found)
    with pytest.raises(ValueError, match="the corpus has 9"):
        ranks_of_match(query, corpus, match + 1)
