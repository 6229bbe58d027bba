"""Learnable, per head, per pair, per sample, model-aware: values, gradients, clamps, logs, resume, processes."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.callbacks import MemoryQueue, TemperatureSchedule
from lightning_contrast.contrast import Candidates
from lightning_contrast.objectives import MACL, InfoNCE, ISogCLR, SupCon
from lightning_contrast.temperatures import Fixed, Learnable, ModelAware, PerHead, PerPair, PerSample
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr
from tests.modules.test_contrastive import linear
from tests.modules.test_processes import sgd


def infonce(z, y, tau):
    """By a double loop; ``tau`` is a function of row and column."""
    z, y = F.normalize(z, dim=1), F.normalize(y, dim=1)
    rows = []
    for i in range(len(z)):
        logit = torch.stack([z[i] @ y[j] / tau(i, j) for j in range(len(y))])
        rows.append(logit.logsumexp(0) - logit[i])
    return torch.stack(rows).mean()


# Pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["dense", "tiles", "auto"])
def test_each_pair_of_groups_has_its_own(path):
    torch.manual_seed(0)
    z, y = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 1, 2, 1, -1, 0, 2])
    taus = PerPair(groups=3, key="language", initial=0.5).double()
    with torch.no_grad():
        taus.log_scale.copy_(torch.randn(9))
    objective = InfoNCE(taus)
    objective.path = path
    loss = objective(Contrast.from_pairs(z, y, language=group))

    def tau(i, j):
        known = group[i] >= 0 and group[j] >= 0
        return torch.exp(-taus.log_scale[group[i] * 3 + group[j]]) if known else torch.tensor(0.5)

    expected = infonce(z, y, tau)
    torch.testing.assert_close(loss, expected)
    for a, b in zip(*(torch.autograd.grad(x, [z, y, taus.log_scale]) for x in (loss, expected)), strict=True):
        torch.testing.assert_close(a, b)
    assert taus.table()[1, 2].item() == pytest.approx(tau(1, 2).item())
    assert taus.value().item() == pytest.approx(taus.table().mean().item())


def test_a_table_of_one_group_is_learnable():
    z, y = torch.randn(2, 6, 4, dtype=torch.float64)
    c = Contrast.from_pairs(z, y, label=torch.zeros(6, dtype=torch.int64))
    one, two = InfoNCE(PerPair(1, initial=0.3)).double(), InfoNCE(Learnable(0.3)).double()
    torch.testing.assert_close(one(c), two(c))
    grads = [torch.autograd.grad(o(c), o.temperature.log_scale)[0].sum() for o in (one, two)]
    torch.testing.assert_close(*grads)


def test_pairs_of_private_and_queued_candidates():
    label = torch.arange(4) % 2
    c = Contrast.from_pairs(
        torch.randn(4, 3), torch.randn(4, 3), in_batch=False, label=(label, label[:, None].squeeze(1))
    )
    c = c.append(Candidates(torch.randn(5, 3), {"label": torch.tensor([0, 1, 1, 0, -1])}, "queue", "replicated"))
    assert torch.isfinite(InfoNCE(PerPair(2))(c))
    with pytest.raises(KeyError, match="'queue' has no payload 'source'"):
        InfoNCE(PerPair(2, "source"))(c.attach("anchor", source=label).attach("positive", source=label[:, None]))
    with pytest.raises(ValueError, match="'label' holds 1; it must run from 0 to 0"):
        InfoNCE(PerPair(1))(c)


# Heads ------------------------------------------------------------------------------------------------------------


def test_each_contrast_by_its_name():
    z = torch.randn(3, 5, 4, dtype=torch.float64)
    heads = [Contrast.from_pairs(z[0], z[1], name="global"), Contrast.from_pairs(z[0], z[2], name="local.2->x")]
    found = InfoNCE(PerHead({"global": 0.1, "local.2->x": 0.4}))(heads)
    expected = (infonce(z[0], z[1], lambda i, j: 0.1) + infonce(z[0], z[2], lambda i, j: 0.4)) / 2
    torch.testing.assert_close(found, expected)
    other = InfoNCE(PerHead({"local.2->x": 0.4}, other=0.1))(heads)
    torch.testing.assert_close(other, expected)
    with pytest.raises(KeyError, match="called 'global'"):
        InfoNCE(PerHead({"local": 0.4}))(heads)


def test_the_other_direction_shares_its_contrasts():
    z = torch.randn(2, 5, 4, dtype=torch.float64)
    c = Contrast.from_pairs(z[0], z[1], name="image->text")
    found = InfoNCE(PerHead({"image->text": 0.3}), symmetric=True)(c)
    torch.testing.assert_close(found, InfoNCE(0.3, symmetric=True)(c))


def both(objective):
    torch.manual_seed(0)
    return sgd(ContrastiveModule(linear(), objective, predictor=linear_head(), both_orders=True))


def linear_head():
    from lightning_contrast.heads import LinearHead

    return LinearHead(16)


def test_heads_are_trained_clamped_and_logged():
    taus = PerHead({"view1->view2": 0.2, "view2->view1": 0.5}, learnable=True, minimum=0.198)
    t = fit(both(InfoNCE(taus)), steps=3, log_every_n_steps=1)
    assert taus.head("view1->view2").value().item() >= 0.198 - 1e-6
    assert taus.head("view2->view1").value().item() != pytest.approx(0.5, abs=1e-3)
    one, two = (t.callback_metrics[f"train/temperature/{name}"].item() for name in taus.names)
    assert t.callback_metrics["train/temperature"].item() == pytest.approx((one + two) / 2)
    assert one < two
    with pytest.raises(ValueError, match="PerHead temperature"):
        fit(both(InfoNCE(PerHead({"view1->view2": 0.2}, other=0.1))), [TemperatureSchedule()])


# Every kind -------------------------------------------------------------------------------------------------------

KINDS = {
    "fixed": lambda: InfoNCE(Fixed(0.2)),
    "learnable": lambda: InfoNCE(Learnable(0.2, minimum=0.1)),
    "per head": lambda: InfoNCE(PerHead({"view->view": 0.2}, learnable=True)),
    "per pair": lambda: SupCon(PerPair(10, initial=0.2)),
    "per sample": lambda: InfoNCE(PerSample(128, 0.2)),
    "isogclr": lambda: ISogCLR(128, 0.2, eta=0.3),
    "model-aware": lambda: InfoNCE(ModelAware(0.2)),
    "macl": lambda: MACL(0.2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_resume(tmp_path, kind):
    """Also what is held for each sample: the state of the module has it, by index."""
    assert_resumes_exactly(tmp_path, lambda: simclr(KINDS[kind]()), list)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes(tmp_path, kind):
    assert_two_processes_train_as_one(tmp_path, lambda: simclr(KINDS[kind](), dropout=0), list, steps=4)


@pytest.mark.parametrize("kind", KINDS)
def test_logged_always(kind):
    objective = KINDS[kind]()
    t = fit(simclr(objective), [MemoryQueue(20)], steps=2, log_every_n_steps=1)
    assert 0.1 < t.callback_metrics["train/temperature"] < 0.4


@pytest.mark.parametrize("private", [False, True])
def test_functions_of_a_pair_are_logged_as_their_mean(private):
    class Own(MemoryQueue):
        def on_contrast(self, trainer, pl_module, contrast):
            return (
                super()
                .on_contrast(trainer, pl_module, contrast)
                .replace(temperature=lambda pair: 0.1 + 0.2 * pair.same("position"))
            )

    t = fit(moco() if private else simclr(), [Own(20)], steps=2, log_every_n_steps=1)
    expected = 0.3 if private else 0.1 + 0.2 / 32  # two views: of 64 candidates two have the anchor's position
    assert t.callback_metrics["train/temperature"].item() == pytest.approx(expected)


def test_per_sample_state_is_keyed_by_index():
    """Samples seen have moved, others not; a data set in another order finds its own again."""
    objective = ISogCLR(200, 0.2, eta=0.3)
    fit(simclr(objective), steps=4)
    tau = objective.table.tau[0]
    assert (tau[:128] != 0.2).all()
    assert (tau[128:] == 0.2).all()
    index = torch.tensor([70, 3, 150])
    taken = PerSample.forward(objective.table, Contrast.from_pairs(torch.eye(3), torch.eye(3), index=index))
    torch.testing.assert_close(taken, tau[index])


def test_isogclr_identities():
    """log g - E_p[h / tau] is -KL(p || uniform), and shifting all scores by the positive's changes no slope."""
    torch.manual_seed(0)
    h = torch.randn(9, dtype=torch.float64)
    for tau in (0.3, 0.9):
        g, p = (h / tau).exp().mean(), torch.softmax(h / tau, 0)
        kl = (p * (p * 9).log()).sum()
        torch.testing.assert_close((p * h / tau).sum() - g.log(), kl)
        slopes = []
        for shift in (0.0, 0.7):
            s = torch.cat([torch.tensor([shift]).double(), h + shift])[:, None]
            c = Contrast.from_pairs(torch.ones(1, 1).double(), s[:1], index=torch.tensor([0]))
            c = c.append(Candidates(s[1:], {"index": torch.arange(1, 10)}, name="negative"))
            from lightning_contrast import Dot

            objective = ISogCLR(10, tau, 0.05, 2.0, rho=0.4, gamma=1.0, similarity=Dot()).double()
            slopes.append(objective.evaluate(objective.directions(c)[0]).figures["slope"].item())
        assert slopes[0] == pytest.approx(0.4 - kl.item(), abs=1e-6)
        assert slopes[1] == pytest.approx(slopes[0], abs=1e-6)


def test_a_learnable_scale_is_clamped_after_each_step():
    taus = Learnable(0.02, minimum=0.01)
    assert taus.log_scale.item() == pytest.approx(-math.log(0.02))
    module = simclr(InfoNCE(taus), dropout=0)
    module.optimizer = lambda p: torch.optim.SGD(p, lr=50.0)
    fit(module, steps=3)
    assert 0.01 - 1e-6 <= taus.value().item() <= 100.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PerHead({}), "name at least one"),
        (lambda: PerHead({"a": 0.0}), "must be a finite number > 0"),
        (lambda: PerHead({"a": 0.001}, learnable=True), "minimum=0.01"),
        (lambda: PerPair(0), "groups=0"),
        (lambda: PerPair(2, initial=0.001), "minimum=0.01"),
        (lambda: PerPair(2, initial=-1), "initial=-1"),
    ],
)
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()
