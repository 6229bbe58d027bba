"""Diagnostics of trained encoders beside plain loops, the specified numbers and limiting values."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lightning_contrast.functional.attention import attention_distance, offset_attention, patch_positions
from lightning_contrast.functional.augmented_distance import augmented_distance, class_divergence, concentration
from lightning_contrast.functional.class_collapse import subclass_share
from lightning_contrast.functional.dense_geometry import (
    dense_alignment,
    dense_uniformity,
    match_by_position,
    match_cells,
    multiple_correlation,
)
from lightning_contrast.functional.geometry import alignment, tolerance_sums, uniformity
from lightning_contrast.functional.group_harm import (
    allocation_harm,
    confusion_counts,
    group_cosine,
    representation_harm,
)
from lightning_contrast.functional.neuron_matching import (
    match_units,
    sparse_prediction,
    unit_correlation,
    unit_sums,
)
from lightning_contrast.functional.ridge import ridge_statistics
from lightning_contrast.functional.task_space import bhattacharyya, imprinted_predictions, inpca, progress
from lightning_contrast.functional.two_sample_critic import critic_divergence

G = torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _same_draws_in_any_order():
    G.manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, generator=G, dtype=torch.float64)


# Harms of imbalance ---------------------------------------------------------------------------------------------------


def cosines(z, labels):
    return group_cosine(*tolerance_sums(z, labels, 3))


def test_harm_to_representation():
    labels, z = torch.arange(60) % 3, draw(60, 4)
    balanced = cosines(z, labels)
    unit = F.normalize(z, dim=1).tolist()
    for k, m in itertools.product(range(3), repeat=2):
        pairs = [(i, j) for i in range(60) for j in range(60) if i != j and i % 3 == k and j % 3 == m]
        expected = sum(math.sumprod(unit[i], unit[j]) if hasattr(math, "sumprod") else
                       sum(a * b for a, b in zip(unit[i], unit[j], strict=True)) for i, j in pairs) / len(pairs)  # fmt: skip
        assert balanced[k, m].item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(representation_harm(balanced, balanced), torch.ones_like(balanced))
    far, moved = torch.eye(4).double()[labels], torch.eye(4).double()[labels.where(labels != 2, torch.tensor(1))]
    ratio = representation_harm(cosines(moved, labels), cosines(far, labels))
    assert ratio[2].tolist()[:2] == [1.0, 0.0], "group 2 lies on group 1 now"


def test_harm_to_allocation_is_the_sum_of_its_parts():
    labels = torch.arange(90) % 3
    guesses = [torch.randint(3, (90,), generator=G) for _ in range(4)]
    found = allocation_harm(*(confusion_counts(g, labels, 3) for g in guesses))
    torch.testing.assert_close(found.total, found.mediated + found.direct + found.interaction)
    for k, m in itertools.product(range(3), repeat=2):
        share = [float((g[labels == k] == m).double().mean()) for g in guesses]
        assert found.total[k, m].item() == pytest.approx(share[0] - share[3])
        assert found.mediated[k, m].item() == pytest.approx(share[1] - share[3])
        assert found.direct[k, m].item() == pytest.approx(share[2] - share[3])
    assert all((x == 0).all() for x in allocation_harm(*[confusion_counts(labels, labels, 3)] * 4))


# Matching units -------------------------------------------------------------------------------------------------------


def test_permuted_units_are_found():
    a, order = draw(50, 7).relu(), torch.randperm(7, generator=G)
    correlation = unit_correlation(unit_sums(a, 3 * a[:, order] + 1))
    found = match_units(correlation[:7, 7:])
    torch.testing.assert_close(found.matched, torch.ones(7).double())
    assert torch.equal(order[found.partner], torch.arange(7))


def test_correlation_and_matching_by_brute_force():
    a, b = draw(30, 4), draw(30, 5)
    correlation = unit_correlation(unit_sums(a, b))
    np.testing.assert_allclose(correlation, np.corrcoef(torch.cat([a, b], 1).T), atol=1e-10)
    block = correlation[:4, 4:]
    best = max(sum(block[i, p[i]].item() for i in range(4)) for p in itertools.permutations(range(5), 4))
    found = match_units(block)
    assert found.matched.sum().item() == pytest.approx(best)
    assert found.matched.mean() <= found.semi.mean() + 1e-12
    silent = unit_correlation(unit_sums(torch.cat([a, torch.full((30, 1), 0.1)], 1), b))
    assert (silent[4] == 0).all()


def test_sparse_prediction_is_scikit_learns_lasso():
    from sklearn.linear_model import Lasso

    a, b = draw(200, 6), draw(200, 3)
    b[:, 0] += a[:, 1] - 2 * a[:, 4]
    x, y = ((z - z.mean(0)) / z.std(0, correction=0) for z in (a, b))
    weight = sparse_prediction(unit_correlation(unit_sums(a, b)), 6, 0.1)
    for j in range(3):
        expected = Lasso(alpha=0.1, fit_intercept=False, tol=1e-10).fit(x, y[:, j]).coef_
        np.testing.assert_allclose(weight[:, j], expected, atol=1e-6)
    assert (sparse_prediction(unit_correlation(unit_sums(a, b)), 6, 1.0) == 0).all()


# Feature maps ---------------------------------------------------------------------------------------------------------


def test_one_place_is_the_instance_metric():
    a, b = draw(9, 5), draw(9, 5)
    match = torch.zeros(9, 1, dtype=torch.int64)
    maps, other = a[:, :, None, None], b[:, :, None, None]
    torch.testing.assert_close(dense_alignment(maps, other, match).mean(), alignment(a, b))
    torch.testing.assert_close(dense_uniformity(maps), uniformity(a))


def test_places_find_themselves_and_their_mirror():
    maps = draw(4, 6, 3, 2)
    here = torch.arange(6).expand(4, 6)
    assert torch.equal(match_cells(maps, maps), here)
    torch.testing.assert_close(dense_alignment(maps, 5 * maps, here), torch.zeros(4).double())
    where = patch_positions((3, 2)).expand(4, 6, 2)
    mirrored = torch.stack([where[..., 0], 1 - where[..., 1]], -1)
    expected = torch.arange(6).view(3, 2).flip(1).flatten().expand(4, 6)
    assert torch.equal(match_by_position(where, mirrored), expected)
    assert torch.equal(match_cells(maps, maps.flip(3)), expected)


def test_dense_uniformity_by_pairs():
    maps = draw(3, 4, 2, 2)
    unit = F.normalize(maps, dim=1).flatten(2).mT
    inside = [torch.pdist(u).square().mul(-2).exp().mean() for u in unit]
    torch.testing.assert_close(dense_uniformity(maps, within=True), torch.stack(inside).mean().log())
    torch.testing.assert_close(
        dense_uniformity(maps), torch.pdist(unit.flatten(0, 1)).square().mul(-2).exp().mean().log()
    )
    assert dense_uniformity(maps[:, :, :1, :1].expand(3, 4, 2, 2), within=True).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="needs two places"):
        dense_uniformity(maps[:, :, :1, :1], within=True)


def test_multiple_correlation():
    from sklearn.linear_model import LinearRegression

    x, y = draw(12, 2), draw(12)
    expected = LinearRegression().fit(x, y).score(x, y) ** 0.5
    assert multiple_correlation(x, y).item() == pytest.approx(expected)
    assert multiple_correlation(x, 3 * x[:, 0] - x[:, 1] + 7).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="R >= F"):
        multiple_correlation(x[:3], y[:3])


# A critic on held-out data --------------------------------------------------------------------------------------------


def test_same_distribution_and_disjoint_supports():
    one = [draw(200, 2) for _ in range(4)]
    assert abs(critic_divergence(*one, hidden=16, steps=40).item()) < 0.03
    assert abs(critic_divergence(*one, "wasserstein", 16, 30).item()) < 0.15
    far = critic_divergence(one[0], one[1] + 20, one[2], one[3] + 20, hidden=32, steps=200)
    assert math.log(2) - 0.01 < far.item() <= math.log(2)


def test_memorising_the_training_set_does_not_win():
    train, held = draw(6, 2), draw(300, 2)
    copies = [train[torch.randint(6, (300,), generator=G)] for _ in range(2)]
    half, rest = held[:150], held[150:]
    honest = critic_divergence(half, draw(300, 2), rest, draw(300, 2), hidden=32, steps=150)
    memorised = critic_divergence(half, copies[0], rest, copies[1], hidden=32, steps=150)
    assert memorised > honest + 0.05


def test_the_critic_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    parts = [draw(9, 2) for _ in range(4)]
    found = [critic_divergence(*parts, "wasserstein", 4, 3).item() for _ in range(2)]
    assert found[0] == found[1]
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match="fresh has no rows"):
        critic_divergence(*parts[:3], parts[0][:0])


# Augmented distance ---------------------------------------------------------------------------------------------------


def test_augmented_distance():
    x = draw(8, 1, 3, 2)
    torch.testing.assert_close(augmented_distance(x), torch.cdist(x.flatten(1), x.flatten(1)))
    views = x + 0.7 * draw(8, 5, 3, 2)
    found = augmented_distance(views)
    for i, j in itertools.combinations(range(8), 2):
        expected = min((a - b).norm().item() for a in views[i] for b in views[j])
        assert found[i, j].item() == found[j, i].item() == pytest.approx(expected)
    assert (augmented_distance(views[:, :3]) >= found).all(), "more views never raise it"


def test_concentration_is_the_largest_clique_and_never_falls():
    distance = augmented_distance(draw(9, 2, 2))
    deltas = sorted({0.0, *distance.flatten().tolist()})
    found = concentration(distance, deltas)
    assert (found.diff() >= 0).all()
    assert found[-1] == 1
    for delta, share in list(zip(deltas, found.tolist(), strict=True))[::6]:
        sizes = [
            r for r in range(1, 10) for s in itertools.combinations(range(9), r)
            if all(distance[i, j] <= delta for i in s for j in s)
        ]  # fmt: skip
        assert share * 9 == pytest.approx(max(sizes))


def test_class_divergence():
    z, labels = draw(30, 3), torch.arange(30) % 3
    centre = [F.normalize(z[labels == c], dim=1).mean(0) for c in range(3)]
    expected = max(float(a @ b) for a, b in itertools.combinations(centre, 2))
    assert class_divergence(z, labels).item() == pytest.approx(expected)


# Task space -----------------------------------------------------------------------------------------------------------


def test_distances_between_models():
    tables = draw(4, 7, 3).softmax(2)
    found = bhattacharyya(tables)
    for u, v in itertools.product(range(4), repeat=2):
        each = [-math.log(sum(math.sqrt(a * b) for a, b in zip(p, q, strict=True)))
                for p, q in zip(tables[u].tolist(), tables[v].tolist(), strict=True)]  # fmt: skip
        assert found[u, v].item() == pytest.approx(sum(each) / 7, abs=1e-12)
    worked = bhattacharyya(torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]))
    assert worked[0, 1].item() == pytest.approx(0.1116, abs=5e-5)


def test_inpca_of_euclidean_distances_is_pca():
    from sklearn.decomposition import PCA

    x = draw(8, 3)
    found = inpca(torch.cdist(x, x).square(), 3)
    expected = PCA(3).fit_transform(x.numpy())
    np.testing.assert_allclose(found.points.abs(), np.abs(expected), atol=1e-9)
    assert (found.values > 0).all()
    tables = draw(6, 5, 3).softmax(2)
    d = bhattacharyya(tables)
    curved = inpca(d)
    sign = curved.values.sign()
    again = ((curved.points[:, None] - curved.points).square() * sign).sum(2)
    torch.testing.assert_close(again, d)
    assert curved.stress[-1].item() == pytest.approx(1)


def test_imprinted_head_and_progress():
    labels = torch.arange(30) % 3
    z = 5 * torch.eye(4).double()[labels] + 0.1 * draw(30, 4)
    table = imprinted_predictions(z, labels, z, 3)
    assert (table.argmax(1) == labels).all()
    truth = F.one_hot(labels, 3).double()
    assert progress(torch.full((30, 3), 1 / 3).double(), labels).item() == 0
    assert progress(truth, labels).item() == 1
    assert 0 < progress(0.5 * truth + 1 / 6, labels).item() < 1
    with pytest.raises(ValueError, match="every class below it needs a row"):
        imprinted_predictions(z, labels, z, 4)


# Attention, subclasses ------------------------------------------------------------------------------------------------


def test_attention():
    attention = draw(2, 3, 7, 7).softmax(3)  # a class token before 2 x 3 patches
    far, there = attention_distance(attention, (2, 3)), offset_attention(attention, (2, 3), (1, -1))
    place = [(r, c) for r in range(2) for c in range(3)]
    for n, h in itertools.product(range(2), range(3)):
        among = attention[n, h, 1:, 1:]
        among = (among / among.sum(1, keepdim=True)).tolist()
        each = [sum(w * math.dist(p, q) for w, q in zip(row, place, strict=True))
                for row, p in zip(among, place, strict=True)]  # fmt: skip
        assert far[n, h].item() == pytest.approx(sum(each) / 6)
        hits = [among[i][j] for i, p in enumerate(place) for j, q in enumerate(place) if (p[0] + 1, p[1] - 1) == q]
        assert there[n, h].item() == pytest.approx(sum(hits) / len(hits))
    uniform = torch.full((1, 1, 6, 6), 1 / 6).double()
    mean = torch.cdist(patch_positions((2, 3)), patch_positions((2, 3))).mean()
    torch.testing.assert_close(attention_distance(uniform, (2, 3))[0, 0], mean)
    with pytest.raises(ValueError, match="must stay within the grid"):
        offset_attention(uniform, (2, 3), (2, 0))


def test_subclasses_collapse():
    labels, superclass = torch.arange(80) % 4, torch.tensor([0, 1, 0, 1])
    z = draw(80, 3) + draw(4, 3)[labels]
    between = within = 0.0
    for c in range(2):
        members = z[superclass[labels] == c]
        within += (members - members.mean(0)).square().sum().item()
        for k in (c, c + 2):
            between += 20 * (z[labels == k].mean(0) - members.mean(0)).square().sum().item()
    found = subclass_share(ridge_statistics(z, labels, 4), superclass)
    assert found.item() == pytest.approx(between / within)
    collapsed, points = z - z + draw(2, 3)[superclass[labels]], draw(4, 3)[labels]
    assert subclass_share(ridge_statistics(collapsed, labels, 4), superclass).item() == pytest.approx(0, abs=1e-6)
    assert subclass_share(ridge_statistics(points, labels, 4), superclass).item() == pytest.approx(1)
