"""Worked numbers of methods of kind model: their objectives."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Cosine, Scores, ready
from lightning_contrast.functional.class_geometry import class_geometry
from lightning_contrast.functional.focal import asymmetric_loss, focal_loss
from lightning_contrast.heads import LandmarkHead
from lightning_contrast.objectives import (
    AMCL,
    CSR,
    CategoryQueries,
    Hydra,
    InfoNCE,
    Matryoshka,
    PairDiscriminator,
    SupCon,
)
from lightning_contrast.similarities import GatedCosine
from lightning_contrast.transforms import NonNegative
from tests.objective_tester import ObjectiveTester
from tests.test_reductions import fitted_odds

N, D = 5, 4
Z = torch.randn(2, N, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABEL = torch.tensor([0, 1, 0, 2, 1])


def views(z=Z, **payload):
    return Contrast.from_views(z, **payload)


# AMCL ---------------------------------------------------------------------------------------------------------------


def amcl(**kwargs):
    torch.manual_seed(0)
    return AMCL(heads=2, minimum=0.2, maximum=1.5, hidden=3, **kwargs).double()


@pytest.mark.parametrize("hard", [False, True])
def test_amcl_of_a_double_loop(hard):
    loss = amcl(hard=hard, beta=0.3)
    found = loss(views())
    x, total = Z.flatten(0, 1), 0.0
    for i in range(2 * N):
        for head in (slice(0, 2), slice(2, 4)):
            a, partner, terms = F.normalize(x[i, head], dim=0), (i + N) % (2 * N), []
            for j in range(2 * N):
                b = F.normalize(x[j, head], dim=0)
                g = (loss.network.layers(a[None]) * loss.network.layers(b[None])).sum().item()
                tau = 0.2 + 1.3 / (1 + math.exp(-g))
                terms.append(((a @ b).item() / tau, 0.3 * (math.log(tau) * 2 / 2 + 1 / tau)))
            others = [terms[j] for j in range(2 * N) if j not in (i, partner)]
            largest, omega = max(others)
            negatives = largest if hard else math.log(sum(math.exp(logit) for logit, _ in others))
            total += -terms[partner][0] + terms[partner][1] + negatives - omega
    assert found.item() == pytest.approx(total / (2 * N * 2))


def test_amcl_temperatures():
    """The optimum 2 (1 - s) / d of an aligned pair; symmetric in the pair; heads may change places."""
    loss = amcl(beta=1.0)
    s, d = 0.7, 64
    tau = torch.tensor(2 * (1 - s) / d, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(-s / tau + loss.omega(tau, d), tau)
    assert slope.abs() < 1e-9
    (contrast,) = loss.directions(views())
    tau = loss.temperatures(Scores(ready(contrast)), 1)
    torch.testing.assert_close(tau, tau.mT)
    assert 0.2 < tau.min() < tau.max() < 1.5
    torch.testing.assert_close(loss(views(Z[..., [2, 3, 0, 1]])), loss(views()))


def test_amcl_takes_no_other_temperature():
    with pytest.raises(ValueError, match="predicts its temperatures"):
        amcl()(views().replace(temperature=0.3))
    with pytest.raises(ValueError, match="multiple"):
        AMCL(heads=3)(views())


# CQ-DINO ------------------------------------------------------------------------------------------------------------


def test_cq_dino_keeps_the_true_class_and_spares_the_others():
    torch.manual_seed(0)
    loss = CategoryQueries(6, D, k=2, selector_weight=0.0).double()
    selection = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    kept = loss.kept(selection, torch.tensor([[False, False, False, True]]))
    assert kept.tolist() == [[True, False, False, True]]
    loss(views(Z[:, :1], label=LABEL[:1])).backward()
    rows = loss.classes.weight.grad.abs().sum(1) > 0
    assert 1 < rows.sum() <= 3, "two views keep class 0 and one other each"
    assert rows[0]
    assert loss.selector.weight.grad is None or not loss.selector.weight.grad.any()


def test_cq_dino_trains_its_selector():
    loss = CategoryQueries(6, D, k=2).double()
    loss(views(label=LABEL)).backward()
    assert loss.selector.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="label 2"):
        CategoryQueries(2, D).double()(views(label=LABEL))


def test_focal_numbers():
    logit, yes = torch.tensor([1.0, 1.0]), torch.tensor([True, False])
    p = 1 / (1 + math.exp(-1.0))
    found = focal_loss(logit, yes, 2.0, 0.25).tolist()
    assert found == pytest.approx([-0.25 * (1 - p) ** 2 * math.log(p), -0.75 * p**2 * math.log(1 - p)], rel=1e-5)
    plain = focal_loss(logit, yes, 0.0, None)
    torch.testing.assert_close(plain, F.binary_cross_entropy_with_logits(logit, yes.float(), reduction="none"))
    assert asymmetric_loss(torch.tensor([-9.0]), torch.tensor([False])).item() == 0.0


# CSR ----------------------------------------------------------------------------------------------------------------


def test_csr_codes_and_dead_units():
    torch.manual_seed(0)
    loss = CSR(latents=16, k=3, dead_after=2, dead_k=4, dead=1.0).double()
    (contrast,) = loss.directions(views())
    code = contrast.anchors.first
    assert ((code != 0).sum(1) <= 3).all()
    assert (code >= 0).all()
    assert (contrast.scores().similarity >= -1e-12).all()
    fired = (code > 0).any(0)
    assert torch.equal(loss.since, (~fired).long())
    before = loss(views()).item()  # nobody is dead yet
    assert loss.since.max() == 2
    loss.since[fired.nonzero()[0, 0]] = 9
    after = loss(views())
    assert after.item() > before, "dead units reconstruct what is left over"
    assert loss.since[fired].max() == 0, "the counter starts again when a unit fires"
    after.backward()
    assert loss.head.weight.grad[~fired].abs().sum() > 0
    loss.eval()(views())
    assert loss.since[~fired].min() == 3, "evaluation counts nothing"


def test_csr_wide_reconstruction():
    """With 4 k >= latents the second term is a ReLU autoencoder."""
    torch.manual_seed(0)
    one, two = (CSR(8, 2, gamma=0.0, wide=w, normalize=False).double() for w in (0.0, 0.5))
    one(views()), two.load_state_dict(one.state_dict())
    x, head = Z.flatten(0, 1), one.head
    whole = (head.decode(head.activations(x).relu()) - x).square().mean()
    torch.testing.assert_close(two(views()) - one(views()), 0.5 * whole)


# Hydra --------------------------------------------------------------------------------------------------------------


def hydra(partner="any", **kwargs):
    torch.manual_seed(0)
    return Hydra(3, D, partner, hidden=3, temperature=0.5, **kwargs).double()


def test_gated_cosine_of_a_double_loop():
    gate = torch.sigmoid(Z[1])
    found = GatedCosine().tile((Z[0], gate), (Z[1], gate))
    for i in range(N):
        for j in range(N):
            expected = F.cosine_similarity(gate[i] * Z[0, i], gate[i] * Z[1, j], dim=0)
            torch.testing.assert_close(found[i, j], expected)
    own = GatedCosine().tile((Z[0], gate), (Z[1].expand(N, N, D), gate))
    torch.testing.assert_close(own, found)
    closed = torch.zeros_like(gate).requires_grad_()
    (grad,) = torch.autograd.grad(GatedCosine().tile((Z[0], closed), (Z[1], closed)).sum(), closed)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("partner", ["any", "class"])
@pytest.mark.parametrize("exclude", [False, True])
def test_hydra_of_a_double_loop(partner, exclude):
    loss = hydra(partner, exclude_pair_classes=exclude)
    there = {"any": [1, 2, 3, 4, 0], "class": [2, 4, 0, 3, 1]}[partner]
    total = 0.0
    for view in (0, 1):
        for i in range(N):
            other = there[i] if view == 0 else there.index(i)
            gate = loss.gate(LABEL[[i]], LABEL[[other]])[0]
            pair = {int(LABEL[i]), int(LABEL[other])}
            logits = {}
            for v in (0, 1):
                for j in range(N):
                    positive = v != view and j == other
                    mine = not positive and (j == i or (exclude and int(LABEL[j]) in pair))  # itself, by index
                    if not mine:
                        s = F.cosine_similarity(gate * Z[view, i], gate * Z[v, j], dim=0).item()
                        logits[v, j] = s / 0.5
            total += math.log(sum(map(math.exp, logits.values()))) - logits[1 - view, other]
    found = loss(views(label=LABEL, index=torch.arange(N)))
    assert found.item() == pytest.approx(total / (2 * N))


def test_hydra_gates():
    loss = hydra()
    torch.testing.assert_close(loss.gate(LABEL, LABEL.flip(0)), loss.gate(LABEL.flip(0), LABEL))
    relation = loss.relation()
    torch.testing.assert_close(relation, relation.mT)
    assert relation[0, 1] == pytest.approx(loss.gate(LABEL[:1], LABEL[1:2]).mean().item())
    with pytest.raises(ValueError, match="two views"):
        loss(views(torch.cat([Z, Z]), label=LABEL))
    with pytest.raises(ValueError, match="0 to 2"):
        loss(views(label=LABEL + 1))


# Landmarks ----------------------------------------------------------------------------------------------------------


def test_odds_are_the_ratio_of_densities():
    joint = torch.tensor([[0.3, 0.1, 0.05], [0.05, 0.2, 0.3]], dtype=torch.float64)
    odds = fitted_odds(joint)
    torch.testing.assert_close(odds, joint / torch.outer(joint.sum(1), joint.sum(0)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close((odds * joint.sum(0)).sum(1), torch.ones(2).double(), rtol=1e-4, atol=1e-5)


def test_the_objective_is_that_logistic_loss():
    """Logits of a table, every pair once, beside cross-entropy of equally many true and shuffled pairs."""
    s = F.normalize(Z[0], dim=1) @ F.normalize(Z[1], dim=1).mT / 0.5 + 0.2
    off = ~torch.eye(N, dtype=torch.bool)
    yes, no = F.softplus(-s.diagonal()).mean(), F.softplus(s[off]).mean()
    loss = PairDiscriminator(0.5, bias=0.2, similarity=Cosine()).double()
    torch.testing.assert_close(loss(Contrast.from_pairs(*Z)), (yes + no) / 2)


def test_landmarks_decode_the_class():
    """Two views independent given the class: odds at one landmark a class are linear in the posterior."""
    given = torch.tensor([[0.7, 0.2, 0.1, 0.0], [0.1, 0.1, 0.2, 0.6], [0.0, 0.6, 0.3, 0.1]], dtype=torch.float64)
    joint = given.mT @ given / 3
    odds = joint / torch.outer(joint.sum(1), joint.sum(0))  # P(z|x) / P(z)
    posterior = given.mT / given.sum(0)[:, None]
    phi = odds[:, [0, 1, 3]]  # three landmarks for three classes
    weights = torch.linalg.lstsq(phi, posterior).solution
    torch.testing.assert_close(phi @ weights, posterior)
    head = LandmarkHead(landmarks=3, dim=4, kind="log").double()
    with pytest.raises(ValueError, match="no landmarks"):
        head(Z[0])
    head.remember(Z[1, :3])
    torch.testing.assert_close(head(Z[0]), Z[0] @ Z[1, :3].mT)
    fresh = LandmarkHead(landmarks=3, dim=4, limit=2.0).double()
    fresh.load_state_dict(head.state_dict())
    torch.testing.assert_close(fresh(Z[0]), (Z[0] @ Z[1, :3].mT).exp().clamp(0.5, 2.0))


# Matryoshka ---------------------------------------------------------------------------------------------------------


def test_matryoshka_is_the_mean_over_prefixes():
    loss = Matryoshka(InfoNCE(0.5), [1, 3, 4], [1.0, 2.0, 1.0])
    expected = sum(w * InfoNCE(0.5)(views(Z[..., :d])) for d, w in ((1, 0.25), (3, 0.5), (4, 0.25)))
    torch.testing.assert_close(loss(views()), expected)
    torch.testing.assert_close(loss(views(Z * torch.rand(2, N, 1).double().add(0.1))), expected)


def test_a_queue_of_whole_keys_serves_all_prefixes():
    keys = torch.randn(7, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def queued(width, prepared):
        z = F.normalize(keys, dim=1) if prepared else keys
        block = Candidates(z[:, :width], name="queue", where="replicated", prepared=prepared)
        return Contrast.from_pairs(*Z[..., :width], in_batch=False).append(block)

    loss = Matryoshka(InfoNCE(0.5), [2, 4])
    expected = (InfoNCE(0.5)(queued(2, False)) + InfoNCE(0.5)(queued(4, False))) / 2
    torch.testing.assert_close(loss(queued(4, True)), expected)
    assert loss.evaluate(loss.prepare(queued(4, True))).contrast.candidates[0].first.shape[-1] == D


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Matryoshka(InfoNCE(), [4, 2]), "rising"),
        (lambda: Matryoshka(InfoNCE(), [2, 4], [1.0]), "weights"),
        (lambda: Matryoshka(InfoNCE(), [2, 3])(views()), "width 4"),
        (lambda: CSR(4, 5), "k=5"),
        (lambda: CSR(4, 2, gamma=-1.0), "gamma"),
        (lambda: AMCL(minimum=0.0), "minimum"),
        (lambda: Hydra(2, 4, "none"), "partner"),
        (lambda: CategoryQueries(2, 4, balance=1.0), "balance"),
        (lambda: LandmarkHead(2, 4, limit=1.0), "limit"),
    ],
)
def test_wrong_values_are_told(make, word):
    with pytest.raises(ValueError, match=word):
        make()


# Non-negative -------------------------------------------------------------------------------------------------------


def test_only_permutations_leave_the_non_negative_loss_alone():
    loss = lambda z: InfoNCE(0.5)(views(NonNegative()(z)))  # noqa: E731
    rotation = torch.linalg.qr(Z[0, :D])[0]
    torch.testing.assert_close(loss(Z[..., [2, 0, 3, 1]]), loss(Z))
    assert (loss(Z @ rotation) - loss(Z)).abs() > 0.01
    torch.testing.assert_close(InfoNCE(0.5)(views(Z @ rotation)), InfoNCE(0.5)(views(Z)))
    assert (views(NonNegative()(Z)).scores().similarity >= 0).all()


def class_cosines(transform):
    """Free vectors, labels 9 : 2 : 2, full-batch SupCon: cosines of class means. With other seeds a ReLU unit dies."""
    label = torch.tensor([0] * 9 + [1] * 2 + [2] * 2)
    u = torch.randn(1, 13, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer, loss = torch.optim.Adam([u], lr=0.1), SupCon(0.5)
    for _ in range(120):
        optimizer.zero_grad()
        loss(Contrast.from_views(transform(u), label=label)).backward()
        optimizer.step()
    z = F.normalize(transform(u.detach())[0], dim=1)
    means = F.normalize(torch.stack([z[label == c].mean(0) for c in range(3)]), dim=1)
    return (means @ means.mT)[[0, 0, 1], [1, 2, 2]], float(class_geometry(z, label).frame_distance)


def test_relu_makes_class_means_orthogonal():
    cosines, distance = class_cosines(NonNegative())
    assert cosines.abs().max() < 0.01
    assert distance < 0.01
    plain, distance = class_cosines(torch.nn.Identity())
    torch.testing.assert_close(plain.sort().values, torch.tensor([-0.62, -0.62, -0.23]), atol=0.02, rtol=0)
    assert distance > 0.3


# The shared tests ---------------------------------------------------------------------------------------------------


def pair_loss(logits, targets):
    """One anchor of the discriminator, in plain floats; its bias is 1."""
    sides = [[], []]
    for logit, target in zip(logits, targets, strict=True):
        sides[target > 0].append(math.log1p(math.exp(-logit - 1 if target else logit + 1)))
    return sum(math.fsum(side) / len(side) for side in sides) / 2 if all(sides) else None


class TestPairDiscriminator(ObjectiveTester):
    objective = staticmethod(lambda temperature: PairDiscriminator(temperature, bias=1.0))
    oracle = staticmethod(pair_loss)
    cosine = False


def decoupled_loss(logits, targets):
    negatives = [logit for logit, target in zip(logits, targets, strict=True) if not target]
    return math.log(math.fsum(map(math.exp, negatives))) - math.fsum(map(math.prod, zip(logits, targets, strict=True)))


class TestAMCL(ObjectiveTester):
    """One head of constant temperature; what is predicted stands above."""

    objective = AMCL
    oracle = staticmethod(decoupled_loss)
    setting = "views"
    ring = False

    @classmethod
    def make(cls, temperature=0.5):
        tau = temperature if isinstance(temperature, float) else 0.5
        torch.manual_seed(7)
        made = AMCL(heads=1, minimum=tau, maximum=tau, hidden=3)
        made.prepare(cls.contrast(cls.data(2, torch.float32)))
        return made

    @classmethod
    def data(cls, n, dtype=torch.float64, seed=0, dim=0):
        return super().data(n, dtype, seed)  # the network has learned its width
