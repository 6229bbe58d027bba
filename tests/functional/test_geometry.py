import math

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import skew

from lightning_contrast.functional import potential
from lightning_contrast.functional.class_geometry import class_geometry
from lightning_contrast.functional.geometry import alignment, modality_gap, tolerance, uniformity
from lightning_contrast.functional.hardness import score_distribution
from lightning_contrast.functional.hubness import hubness, k_occurrence
from lightning_contrast.functional.representation_similarity import linear_cka, mutual_knn
from lightning_contrast.functional.spectrum import effective_rank, entropy_rank, lidar, rankme

torch.manual_seed(0)
Z = torch.randn(41, 6, dtype=torch.float64)
LABELS = torch.randint(4, (41,), generator=torch.Generator().manual_seed(3))


def unit_pairs():
    u = F.normalize(Z, dim=1)
    return [(i, j, u[i], u[j]) for i in range(len(u)) for j in range(i + 1, len(u))]


@pytest.mark.parametrize("tile", [5, 41, 2048])
def test_uniformity_equals_pairs_in_any_tile(monkeypatch, tile):
    monkeypatch.setattr(potential, "TILE", tile)
    mean = sum(math.exp(-2 * float((u - v).square().sum())) for _, _, u, v in unit_pairs()) / (41 * 40 / 2)
    assert float(uniformity(Z)) == pytest.approx(math.log(mean), abs=1e-12)


def test_uniformity_limits_and_gradient():
    assert float(uniformity(torch.ones(5, 3))) == pytest.approx(0.0, abs=1e-5)
    sphere = torch.randn(4000, 128, generator=torch.Generator().manual_seed(0))
    assert float(uniformity(sphere)) == pytest.approx(-4 + 4**2 / (2 * 128), abs=0.01)  # Gaussian cosines
    z = Z[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(uniformity, (z,))
    assert torch.autograd.gradcheck(alignment, (z, Z[5:10]))


def test_alignment_and_its_power():
    x, y = F.normalize(Z, dim=1), F.normalize(Z.roll(1, 0), dim=1)
    distances = [float((a - b).norm()) for a, b in zip(x, y, strict=True)]
    assert float(alignment(Z, 3 * Z)) == pytest.approx(0, abs=1e-12)
    assert float(alignment(x, y)) == pytest.approx(sum(d**2 for d in distances) / 41)
    assert float(alignment(x, y, alpha=1)) == pytest.approx(sum(distances) / 41)


def test_tolerance_in_both_readings():
    same = [float(u @ v) for i, j, u, v in unit_pairs() if LABELS[i] == LABELS[j]]
    assert float(tolerance(Z, LABELS)) == pytest.approx(sum(same) / len(same))
    assert float(tolerance(Z, LABELS, over="all")) == pytest.approx(sum(same) / (41 * 40 / 2))
    with pytest.raises(ValueError, match="two rows of one label"):
        tolerance(Z[:2], torch.tensor([0, 1]))


def test_modality_gap_vanishes_for_equal_sets():
    assert float(modality_gap(Z, Z.flip(0))) == pytest.approx(0, abs=1e-12)
    assert float(modality_gap(Z, 2 * Z - 0)) == pytest.approx(0, abs=1e-12)


def test_ranks():
    assert float(entropy_rank(torch.tensor([3.0, 1.0]))) == pytest.approx(4 / 3**0.75)
    low = torch.randn(500, 3, dtype=torch.float64) @ torch.randn(3, 40, dtype=torch.float64)
    assert 1 < float(effective_rank(low)) <= 3 + 1e-9
    assert 1 < float(rankme(low)) <= 3.01
    isotropic = torch.randn(20000, 16, generator=torch.Generator().manual_seed(0))
    assert float(effective_rank(isotropic)) == pytest.approx(16, rel=0.01)
    assert float(rankme(isotropic)) == pytest.approx(16, rel=0.01)
    assert float(effective_rank(torch.ones(9, 4) * 0.3)) == 0  # a collapsed encoder
    assert float(rankme(torch.ones(9, 4))) == pytest.approx(1, abs=1e-4)
    assert float(effective_rank(Z + 100)) == pytest.approx(float(effective_rank(Z)))  # blind to an offset


def test_lidar_equals_scipy_and_ignores_noisy_directions():
    from scipy.linalg import eigh

    views = torch.randn(30, 4, 5, dtype=torch.float64) + torch.randn(30, 1, 5, dtype=torch.float64)
    mean = views.mean(1)
    between = torch.cov(mean.T, correction=0)
    within = sum(torch.cov(v.T, correction=0) for v in views) / 30 + 1e-4 * torch.eye(5)
    values = torch.from_numpy(eigh(between.numpy(), within.numpy(), eigvals_only=True))
    share = values / values.sum() + 1e-7
    assert float(lidar(views)) == pytest.approx(float((-share * share.log()).sum().exp()))
    signal = torch.randn(200, 1, 2, dtype=torch.float64).expand(-1, 8, -1)
    noise = torch.randn(200, 8, 6, dtype=torch.float64)
    assert float(lidar(torch.cat([signal, noise], dim=2))) == pytest.approx(2, abs=0.05)  # RankMe sees 8


def test_class_geometry_of_a_simplex_and_by_loops():
    simplex = torch.eye(4, dtype=torch.float64)[torch.arange(12) % 4]
    found = class_geometry(simplex, torch.arange(12) % 4)
    assert float(found.scatter_ratio) == pytest.approx(0, abs=1e-9)
    assert float(found.nc1) == pytest.approx(0, abs=1e-9)
    assert float(found.mean_cosine) == pytest.approx(-1 / 3)
    assert float(found.cosine_spread) == pytest.approx(0, abs=1e-9)
    assert float(found.norm_spread) == pytest.approx(0, abs=1e-9)
    means = torch.stack([Z[c == LABELS].mean(0) for c in range(4)])
    within = sum(float((Z[i] - means[LABELS[i]]).square().sum()) for i in range(41)) / 41
    between = float((means - means.mean(0)).square().sum()) / 4
    assert float(class_geometry(Z, LABELS).scatter_ratio) == pytest.approx(within / between)
    gap = class_geometry(Z, LABELS + 3 * (LABELS > 1))  # labels that do not occur change nothing
    torch.testing.assert_close(tuple(gap), tuple(class_geometry(Z, LABELS)))
    with pytest.raises(ValueError, match="at least two classes; got 1"):
        class_geometry(Z, torch.zeros(41, dtype=torch.long))


def test_hubness():
    u = F.normalize(Z, dim=1)
    scores = (u @ u.T).fill_diagonal_(-torch.inf)
    count = torch.bincount(scores.topk(5).indices.flatten(), minlength=41)
    assert torch.equal(k_occurrence(Z, 5), count)
    assert float(hubness(Z, 5).skewness) == pytest.approx(float(skew(count.numpy())))
    assert float(hubness(Z, 5).orphans) == float((count == 0).double().mean())
    star = torch.cat([torch.zeros(1, 30), 0.1 * torch.eye(30)]) + 1.0  # the centre is everybody's neighbour
    assert float(hubness(star, 1).largest) == 30


def test_mutual_knn_and_cka():
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    other = torch.randn(41, 9, dtype=torch.float64)
    assert float(mutual_knn(Z, 4 * Z @ rotation)) == 1
    assert float(mutual_knn(Z, other)) == float(mutual_knn(other, Z))
    assert float(mutual_knn(Z, other, k=40)) == 1
    f, g = torch.randn(2, 1000, 16, generator=torch.Generator().manual_seed(0))
    assert float(mutual_knn(f, g)) == pytest.approx(10 / 999, abs=0.004)
    neighbours = []
    for z in (Z, other):
        u = F.normalize(z, dim=1)
        neighbours.append((u @ u.T).fill_diagonal_(-torch.inf).topk(3).indices.tolist())
    common = sum(len(set(a) & set(b)) for a, b in zip(*neighbours, strict=True))
    assert float(mutual_knn(Z, other, k=3)) == pytest.approx(common / (41 * 3))
    assert float(linear_cka(Z, 4 * Z @ rotation + 2)) == pytest.approx(1)
    x, y = Z - Z.mean(0), other - other.mean(0)
    kernel, second = x @ x.T, y @ y.T
    expected = (kernel * second).sum() / (kernel.norm() * second.norm())
    assert float(linear_cka(Z, other)) == pytest.approx(float(expected))
    with pytest.raises(ValueError, match=r"k must lie in \[1, 40\] for 41 samples; got 41"):
        mutual_knn(Z, other, k=41)


def test_score_distribution_worked_numbers():
    """Similarities 0.8 and 0.2 at temperatures 0.1 and 0.5: the published shares of the harder negative."""
    anchor = torch.tensor([[1.0, 0.0, 0.0]])
    negatives = torch.tensor([[0.8, 0.6, 0.0], [0.2, 0.0, 0.96**0.5]])
    group = torch.tensor([1, 2])
    for temperature, share in ((0.1, 0.9975), (0.5, 0.7685)):
        found = score_distribution(anchor, negatives, torch.tensor([0]), group, temperature=temperature, bins=10)
        assert float(found.gradient_share[-1] + found.gradient_share[-2]) == pytest.approx(share, abs=5e-5)
        entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
        assert float(found.effective_negatives) == pytest.approx(math.exp(entropy), abs=5e-4)


def test_score_distribution_equals_loops(monkeypatch):
    from lightning_contrast.functional import hardness

    monkeypatch.setattr(hardness, "TILE", 7)
    ids = torch.arange(41)
    found = score_distribution(Z, Z, LABELS, LABELS, anchor_ids=ids, candidate_ids=ids, temperature=0.2, bins=8)
    pairs = unit_pairs()
    positive = torch.tensor([float(u @ v) for i, j, u, v in pairs if LABELS[i] == LABELS[j]])
    negative = torch.tensor([float(u @ v) for i, j, u, v in pairs if LABELS[i] != LABELS[j]])
    assert found.positive.tolist() == [2 * int(n) for n in torch.histc(positive, 8, -1, 1)]
    assert found.negative.tolist() == [2 * int(n) for n in torch.histc(negative, 8, -1, 1)]
    assert float(found.positive_mean) == pytest.approx(float(positive.mean()), abs=1e-6)
    u = F.normalize(Z, dim=1)
    logits = (u @ u.T / 0.2).masked_fill(LABELS[:, None] == LABELS, -torch.inf)
    share = logits.softmax(1)
    entropy = -(share * share.clamp_min(1e-300).log()).sum(1)
    assert float(found.effective_negatives) == pytest.approx(float(entropy.exp().mean()), rel=1e-5)
    assert float(found.hardest_negative) == pytest.approx(float(logits.amax(1).mean()) * 0.2, abs=1e-6)
    assert float(found.gradient_share.sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniformity(Z[:1]), "at least two rows; got 1"),
        (lambda: uniformity(Z, t=0), "t must be above 0; got 0"),
        (lambda: alignment(Z, Z[:3]), "equal shape"),
        (lambda: alignment(Z, Z, alpha=-1), "alpha must be above 0; got -1"),
        (lambda: tolerance(Z, LABELS, over="none"), "over must be 'same-label' or 'all'; got 'none'"),
        (lambda: modality_gap(Z, Z[:, :2]), "y has 2 columns, but 6"),
        (lambda: rankme(Z[0]), "z must be a floating-point matrix"),
        (lambda: lidar(Z), "views must be floating"),
        (
            lambda: score_distribution(Z, Z, LABELS, LABELS, temperature=0),
            "temperature must be above 0; got 0",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
