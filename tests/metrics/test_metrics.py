"""Every Metric: equal to its functional form, and on two processes with uneven shards equal to one."""

import multiprocessing

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from lightning_contrast import metrics
from lightning_contrast.functional.attention import attention_distance, offset_attention
from lightning_contrast.functional.augmented_distance import (
    augmented_distance,
    class_divergence,
    concentration,
    misaligned,
)
from lightning_contrast.functional.class_collapse import subclass_share
from lightning_contrast.functional.class_geometry import class_geometry
from lightning_contrast.functional.clustering import clustering_agreement
from lightning_contrast.functional.dense_geometry import dense_alignment, dense_uniformity, match_cells
from lightning_contrast.functional.few_label import few_label_accuracy
from lightning_contrast.functional.geometry import alignment, modality_gap, tolerance, uniformity
from lightning_contrast.functional.gradient_share import gradient_share
from lightning_contrast.functional.group_harm import (
    allocation_harm,
    confusion_counts,
)
from lightning_contrast.functional.hardness import score_distribution
from lightning_contrast.functional.hubness import hubness
from lightning_contrast.functional.kmeans import kmeans
from lightning_contrast.functional.knn import knn_predict
from lightning_contrast.functional.logistic import logistic_probe
from lightning_contrast.functional.neuron_matching import (
    match_units,
    sparse_prediction,
)
from lightning_contrast.functional.representation_similarity import linear_cka, mutual_knn
from lightning_contrast.functional.reranking import reranking_figures
from lightning_contrast.functional.retrieval import retrieval_figures
from lightning_contrast.functional.ridge import ridge_probe, ridge_statistics
from lightning_contrast.functional.spectrum import effective_rank, lidar, rankme
from lightning_contrast.functional.task_space import bhattacharyya
from lightning_contrast.functional.two_sample_critic import critic_divergence
from lightning_contrast.functional.wdiscood import wdiscood_fit

D, N, CLASSES = 6, 60, 4
generator = torch.Generator().manual_seed(0)
LABELS = torch.arange(N) % CLASSES
CENTRES = 2 * torch.randn(CLASSES, D, generator=generator)
X = torch.randn(N, D, generator=generator) + CENTRES[LABELS]
Y = torch.randn(N, D, generator=generator) + CENTRES[LABELS]
VIEWS = torch.stack([X, Y], 1)
IDS = torch.arange(N)
MAPS, OTHER_MAPS = X.view(N, 3, 1, 2), Y.view(N, 3, 1, 2)
GUESSES = [(LABELS + (torch.rand(N, generator=generator) < p) * (IDS % 2)) % CLASSES for p in (0.8, 0.5, 0.3, 0.0)]
TABLES = torch.stack(
    [X[:, :CLASSES].softmax(1), Y[:, :CLASSES].softmax(1), F.one_hot(LABELS, CLASSES) * 0.9 + 0.025], 1
)
ATTENTION = (torch.cat([X, Y, X, Y], 1)[:, :18].view(N, 2, 3, 3)).softmax(3)
FOREIGN = IDS % 3 == 0
STRANGE = torch.where(FOREIGN[:, None], torch.randn(N, D, generator=generator), Y)
GROUP_NAMES = ("both", "encoder", "probe", "neither")


def accuracy(predicted):
    return (predicted == LABELS).float().mean()


def selected(found, names):
    return {name: getattr(found, name) for name in names}


def harm():
    """From the pairs themselves."""
    cosine = []
    for z in (F.normalize(X.double(), dim=1), F.normalize(Y.double(), dim=1)):
        cosine.append(torch.stack([torch.stack([(z[k == LABELS] @ z[m == LABELS].T).mean() for m in range(CLASSES)])
                                   for k in range(CLASSES)]))  # fmt: skip
    ratio = ((1 - cosine[0]) / (1 - cosine[1])).fill_diagonal_(torch.nan)
    worst = [(min((x, m) for m, x in enumerate(row) if m != k)) for k, row in enumerate(ratio.tolist())]
    return {
        "ratio": ratio,
        "worst": torch.tensor([x for x, _ in worst]),
        "towards": torch.tensor([m for _, m in worst]),
    }


def matching():
    correlation = torch.from_numpy(np.corrcoef(torch.cat([X, Y], 1).T.double().numpy()))
    found, weight = match_units(correlation[:D, D:]), sparse_prediction(correlation, D, 0.3)
    return {
        "one_to_one": found.matched.mean(),
        "best": found.semi.mean(),
        "predictors": (weight.abs() > 1e-6).sum(0).double().mean(),
    }


def detection():
    from sklearn.metrics import roc_auc_score, roc_curve

    score = wdiscood_fit(X, LABELS).score(STRANGE)
    passed, accepted, _ = roc_curve(~FOREIGN, score, drop_intermediate=False)
    area = roc_auc_score(~FOREIGN, score)
    return {"auroc": torch.tensor(area), "fpr95": torch.tensor(passed[(accepted >= 0.95).argmax()])}


def shares():
    found = gradient_share(X, X, LABELS, LABELS, anchor_ids=IDS, candidate_ids=IDS, fractions=[0.02, 0.1])
    return {"hardest_2": found.hardest[0], "hardest_10": found.hardest[1], "effective_negatives": found.effective}


def drifts():
    drift = 1 - torch.cosine_similarity(X, Y)
    by_age = torch.stack([drift[:5].mean(), drift[5:30].mean(), drift[30:].mean()])
    return {"drift": drift.mean(), "age": IDS.float().mean(), "by_age": by_age}


SCORE_NAMES = ("positive_mean", "hardest_negative", "effective_negatives")


class Transposed(metrics.TaskDistance):
    """Samples first, as those of the other cases."""

    def update(self, tables):
        super().update(tables.transpose(0, 1))


# name: (metric, arguments of update, arguments of the bank's update, expected value)
CASES = {
    "alignment": (lambda: metrics.Alignment(), (X, Y), None, lambda: alignment(X, Y)),
    "uniformity": (lambda: metrics.Uniformity(), (X,), None, lambda: uniformity(X)),
    "tolerance": (lambda: metrics.Tolerance(D, CLASSES), (X, LABELS), None, lambda: tolerance(X, LABELS)),
    "modality_gap": (lambda: metrics.ModalityGap(D), (X, Y), None, lambda: modality_gap(X, Y)),
    "effective_rank": (lambda: metrics.EffectiveRank(D), (X,), None, lambda: effective_rank(X)),
    "rankme": (lambda: metrics.RankMe(D), (X,), None, lambda: rankme(X)),
    "lidar": (lambda: metrics.LiDAR(D), (VIEWS,), None, lambda: lidar(VIEWS)),
    "class_geometry": (
        lambda: metrics.ClassGeometry(D, CLASSES),
        (X, LABELS),
        None,
        lambda: class_geometry(X, LABELS)._asdict(),
    ),
    "hubness": (lambda: metrics.Hubness(k=3), (X,), None, lambda: hubness(X, 3)._asdict()),
    "mutual_knn": (lambda: metrics.MutualKNN(k=3), (X, Y), None, lambda: mutual_knn(X, Y, 3)),
    "linear_cka": (lambda: metrics.LinearCKA(), (X, Y), None, lambda: linear_cka(X, Y)),
    "scores": (
        lambda: metrics.ScoreHistogram(),
        (X, LABELS),
        None,
        lambda: selected(score_distribution(X, X, LABELS, LABELS, anchor_ids=IDS, candidate_ids=IDS), SCORE_NAMES),
    ),
    "representation_harm": (lambda: metrics.RepresentationHarm(D, CLASSES), (X, Y, LABELS), None, harm),
    "allocation_harm": (
        lambda: metrics.AllocationHarm(CLASSES),
        (LABELS, *GUESSES),
        None,
        lambda: allocation_harm(*(confusion_counts(g, LABELS, CLASSES) for g in GUESSES))._asdict(),
    ),
    "unit_matching": (lambda: metrics.UnitMatching(D, D, penalty=0.3), (X, Y), None, matching),
    "dense_alignment": (
        lambda: metrics.DenseAlignment(),
        (MAPS, OTHER_MAPS),
        None,
        lambda: dense_alignment(MAPS, OTHER_MAPS, match_cells(MAPS, OTHER_MAPS)).mean(),
    ),
    "dense_uniformity": (lambda: metrics.DenseUniformity(), (MAPS,), None, lambda: dense_uniformity(MAPS)),
    "within_images": (
        lambda: metrics.DenseUniformity(within=True),
        (MAPS,),
        None,
        lambda: dense_uniformity(MAPS, within=True),
    ),
    "critic": (
        lambda: metrics.CriticDivergence(hidden=8, steps=20),
        (Y, X.flip(0) + 1),
        (X, Y.flip(0) + 1),
        lambda: critic_divergence(X, Y.flip(0) + 1, Y, X.flip(0) + 1, hidden=8, steps=20),
    ),
    "concentration": (
        lambda: metrics.Concentration([1.0, 2.0, 3.0, 9.0]),
        (VIEWS, LABELS),
        None,
        lambda: torch.stack(
            [concentration(augmented_distance(VIEWS[c == LABELS]), [1.0, 2.0, 3.0, 9.0]) for c in range(CLASSES)]
        ).amin(0),
    ),
    "misalignment": (lambda: metrics.Misalignment(0.8), (VIEWS,), None, lambda: misaligned(VIEWS, 0.8).float().mean()),
    "class_divergence": (
        lambda: metrics.ClassDivergence(D, CLASSES),
        (X, LABELS),
        None,
        lambda: class_divergence(X, LABELS),
    ),
    "task_distance": (
        lambda: Transposed(3),
        (TABLES,),
        None,
        lambda: bhattacharyya(TABLES.transpose(0, 1)),
    ),
    "attention": (
        lambda: metrics.AttentionDistance(2, (1, 3), (0, 1)),
        (ATTENTION,),
        None,
        lambda: {
            "distance": attention_distance(ATTENTION, (1, 3)).mean(0),
            "offset": offset_attention(ATTENTION, (1, 3), (0, 1)).mean(0),
        },
    ),
    "subclass_share": (
        lambda: metrics.SubclassShare(D, [0, 1, 0, 1]),
        (X, LABELS),
        None,
        lambda: subclass_share(ridge_statistics(X, LABELS, CLASSES), torch.tensor([0, 1, 0, 1])),
    ),
    "out_of_distribution": (lambda: metrics.OutOfDistribution(), (STRANGE, FOREIGN), (X, LABELS), detection),
    "knn": (
        lambda: metrics.KNNAccuracy(k=5),
        (Y, LABELS),
        (X, LABELS),
        lambda: accuracy(knn_predict(Y, X, LABELS, 5)),
    ),
    "ridge": (
        lambda: metrics.RidgeProbe(D, CLASSES),
        (Y, LABELS),
        (X, LABELS),
        lambda: accuracy(ridge_probe(X, LABELS, Y)),
    ),
    "few_label": (
        lambda: metrics.FewLabelAccuracy(shots=3, draws=2),
        (Y, LABELS),
        (X, LABELS),
        lambda: few_label_accuracy(X, LABELS, Y, LABELS, shots=3, draws=2).mean(),
    ),
    "logistic": (
        lambda: metrics.LogisticProbe(),
        (Y, LABELS),
        (X, LABELS),
        lambda: accuracy(logistic_probe(X, LABELS, Y)),
    ),
    "clustering": (
        lambda: metrics.ClusteringAgreement(seed=3),
        (X, LABELS),
        None,
        lambda: clustering_agreement(kmeans(X, CLASSES, 50, 3)[1], LABELS),
    ),
    "gradient_share": (lambda: metrics.GradientShare(fractions=[0.02, 0.1]), (X, LABELS), None, shares),
    "staleness": (lambda: metrics.QueueStaleness(ages=[0, 5, 30]), (X, Y, IDS), None, drifts),
    "retrieval": (
        lambda: metrics.EmbeddingRetrieval(["map@r", "mrr@10"]),
        (X, LABELS),
        None,
        lambda: retrieval_figures(X, X, LABELS, LABELS, ["map@r", "mrr@10"], query_ids=IDS, corpus_ids=IDS),
    ),
    "retrieval_corpus": (
        lambda: metrics.EmbeddingRetrieval(["map@r", "mrr@10"]),
        (Y, LABELS),
        (X, LABELS),
        lambda: retrieval_figures(Y, X, LABELS, LABELS, ["map@r", "mrr@10"]),
    ),
}


def ranks_of(values):
    """Ranks from the definition; equal values share the mean of theirs."""
    return ((values[:, None] > values).sum(1) + (values[:, None] >= values).sum(1)).float()


def flat_scores():
    metric = metrics.PairCorrelation()
    metric.update(X, Y, torch.ones(len(X)))
    return metric


GRADES = torch.arange(len(X)).float() * 7 % 5
CASES["pair_correlation"] = (
    metrics.PairCorrelation,
    (X, Y, GRADES),
    None,
    lambda: torch.corrcoef(torch.stack([ranks_of(torch.cosine_similarity(X, Y)), ranks_of(GRADES)]))[0, 1],
)


CASES["pearson"] = (
    lambda: metrics.PairCorrelation("pearson"),
    (X, Y, GRADES),
    None,
    lambda: torch.corrcoef(torch.stack([torch.cosine_similarity(X, Y), GRADES]))[0, 1],
)
CASES["reranking"] = (
    lambda: metrics.Reranking(k=3),
    (X, Y, GRADES - 2, LABELS),
    None,
    lambda: reranking_figures(torch.cosine_similarity(X.double(), Y.double()), GRADES - 2, LABELS, 3),
)


def two_ways():
    both = []
    for one, other in ((X, Y), (Y, X)):
        scores = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
        both.append((scores >= scores.diagonal()[:, None]).sum(1).double())
    ranks = torch.stack(both, 1)
    return {
        "recall@1": (ranks[:, 0] == 1).double().mean(),
        "recall@1_back": (ranks[:, 1] == 1).double().mean(),
        "mrv": ((ranks - ranks.mean(1, keepdim=True)) ** 2).mean(),
    }


CASES["agreement"] = (metrics.TwoWayAgreement, (X, Y), None, two_ways)


def fill(name, rows):
    make, update, bank, _ = CASES[name]
    metric = make()
    for part in (rows[: len(rows) // 3], rows[len(rows) // 3 :]):
        if bank is not None:
            add = metric.update_corpus if name == "retrieval_corpus" else metric.update_bank
            add(*(tensor[part] for tensor in bank))
        metric.update(*(tensor[part] for tensor in update))
    return metric


def close(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(
                found[name].float(), expected[name].float(), rtol=1e-4, atol=1e-5, equal_nan=True
            )
    else:
        torch.testing.assert_close(found.float(), expected.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_equals_the_functional_form(name):
    metric = fill(name, IDS)
    close(metric.compute(), CASES[name][3]())
    assert metric.full_state_update is False
    metric.reset()
    fresh = fill(name, IDS)
    close(fresh.compute(), CASES[name][3]())


def test_every_public_metric_has_a_case():
    made = {type(case[0]()).__name__ for case in CASES.values()} - {"Transposed"}
    assert made | {"TaskDistance"} == set(metrics.__all__)


def _rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    rows = IDS[:23] if rank == 0 else IDS[23:]
    torch.save({name: fill(name, rows).compute() for name in CASES}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_rank, args=(rank, folder)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(ranks, name):
    for found in ranks:
        close(found[name], CASES[name][3]())


def test_nothing_keeps_a_graph_or_the_batch_alive():
    z = X.clone().requires_grad_()
    metric = metrics.Uniformity()
    metric.update(z)
    with torch.no_grad():
        z.zero_()
    assert not metric.compute().requires_grad
    close(metric.compute(), uniformity(X))


def test_a_bank_update_is_seen_after_compute():
    metric = metrics.KNNAccuracy(k=1)
    metric.update_bank(X[:1], LABELS[:1])
    metric.update(X, LABELS)
    before = float(metric.compute())
    metric.update_bank(X, LABELS)
    assert before < float(metric.compute()) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.KNNAccuracy(k=0), "k must be at least 1; got 0"),
        (lambda: metrics.RidgeProbe(4, 1), "classes must be at least 2; got 1"),
        (lambda: metrics.LiDAR(4, delta=0), "delta must be above 0; got 0"),
        (lambda: metrics.EmbeddingRetrieval(["map"]), "unknown retrieval figure 'map'"),
        (lambda: metrics.ClusteringAgreement(clusters=0), "clusters must be at least 1"),
        (lambda: metrics.LogisticProbe(penalty=-1), "penalty=-1"),
        (lambda: metrics.GradientShare(fractions=[]), "give parts of the negatives"),
        (lambda: metrics.MutualKNN().update(X, Y[:3]), "row counts differ"),
        (lambda: metrics.Uniformity().compute(), "has seen no embeddings"),
        (lambda: metrics.RepresentationHarm(4, 1), "groups must be at least 2; got 1"),
        (lambda: metrics.AllocationHarm(2).update(*[LABELS] * 5), "must lie below it; got 3"),
        (lambda: metrics.PairCorrelation().update(X, Y[:3], GRADES), "pairs need equal shapes"),
        (
            lambda: metrics.PairCorrelation().update(X * torch.nan, Y, GRADES),
            f"{len(X)} of {len(X)} pairs have embeddings",
        ),
        (lambda: flat_scores().compute(), "scores are all equal have no order"),
        (lambda: metrics.PairCorrelation("kendall"), "kind='kendall': must be one of spearman, pearson"),
        (lambda: metrics.Reranking(k=0), "k=0: must be at least 1"),
        (lambda: metrics.TwoWayAgreement().update(X, Y * torch.nan), "60 of 60 rows of second are not finite"),
        (lambda: metrics.TwoWayAgreement().update(X, Y[:3]), "pairs need equal shapes"),
        (lambda: metrics.UnitMatching(0, 2), "at least 1; got 0 and 2"),
        (lambda: metrics.UnitMatching(D, D).update(X, Y[:3]), "have 60 and 3 rows"),
        (lambda: metrics.DenseAlignment().update(X, Y), r"feature maps must be \[N, C, H, W\]"),
        (lambda: metrics.CriticDivergence("gan"), "kind='gan'"),
        (lambda: metrics.Concentration([2.0, 1.0]), "smaller ones first"),
        (lambda: metrics.Misalignment(3.0), r"eps must lie in \[0, 2\]"),
        (lambda: metrics.TaskDistance(3).update(torch.ones(3, 4, 2)), "must hold probabilities"),
        (lambda: metrics.TaskDistance(2).update(TABLES), "models=2 entries"),
        (lambda: metrics.AttentionDistance(2, (2, 2)).update(ATTENTION), "T >= 4 tokens"),
        (lambda: metrics.SubclassShare(4, [0, 1]), "at least one class must have two"),
        (lambda: fill("out_of_distribution", IDS[FOREIGN]).compute(), "rows of both kinds"),
    ],
)
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_plot_draws_without_touching_the_backend():
    import matplotlib.pyplot

    before = matplotlib.get_backend()
    for name in CASES:
        figure, _ = fill(name, IDS).plot()
        assert figure is not None, name
        matplotlib.pyplot.close(figure)
    assert matplotlib.get_backend() == before
