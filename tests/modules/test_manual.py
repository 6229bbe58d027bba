"""Two players in turn, and two losses by their shortest gradient: both by hand, on many processes, resumed."""

import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.contrast import Contrast
from lightning_contrast.encoders import ModuleEncoder, Momentum
from lightning_contrast.functional.min_norm import min_norm_share
from lightning_contrast.modules import AlternatingModule, MinNormModule
from lightning_contrast.objectives import InfoNCE, SepVAE
from lightning_contrast.optim import WarmupCosine
from lightning_contrast.regularisers import CrossEntropy, Dispersive, Regularised
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit
from tests.modules.test_contrastive import linear, loader, weights

PAIRS = ("anchor", "positive")


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05)


def vae(**kwargs):
    torch.manual_seed(0)
    objective = SepVAE(pixels=64, common=3, salient=2, hidden=8, key="label")
    objective.codes = nn.Linear(16, 10)
    return objective


def alternating(cls=AlternatingModule, **kwargs):
    torch.manual_seed(0)
    given = {"key_encoder": ModuleEncoder("torch.nn.Flatten"), "optimizer": lambda p: torch.optim.Adam(p, lr=0.01)}
    return cls(linear(), vae(), **{**given, **kwargs})


def two_losses(**kwargs):
    torch.manual_seed(0)
    classifier = CrossEntropy(10, weight=4.0)
    classifier.linear = nn.Linear(16, 10)
    both = Regularised(InfoNCE(0.2), [Dispersive(2.0), classifier])
    return MinNormModule(linear(), both, **{"optimizer": sgd, **kwargs})


@pytest.mark.parametrize("seed", range(4))
def test_the_share_is_that_of_the_shortest(seed):
    g = torch.Generator().manual_seed(seed)
    one, two = ([torch.randn(3, generator=g), torch.randn(2, 2, generator=g)] for _ in range(2))
    two = [b + seed * a for a, b in zip(one, two, strict=True)]  # from seed 1 on the shortest is an end
    a, b = (torch.cat([x.flatten() for x in v]) for v in (one, two))
    tried = torch.linspace(0, 1, 100001)
    lengths = ((tried[:, None] * a + (1 - tried[:, None]) * b) ** 2).sum(1)
    assert min_norm_share(one, two).item() == pytest.approx(tried[lengths.argmin()].item(), abs=1e-3)


def test_the_share_by_hand():
    x, y = [torch.tensor([1.0, 0.0])], [torch.tensor([0.0, 2.0])]
    assert min_norm_share(x, y).item() == pytest.approx(0.8)
    assert min_norm_share(x, x).item() == 0.5
    assert min_norm_share(x, [5 * x[0]]).item() == 1, "the shorter of two in one direction"
    assert min_norm_share(x, [-3 * x[0]]).item() == pytest.approx(0.75), "nothing is left of opposite ones"
    with pytest.raises(ValueError, match="no gradients"):
        min_norm_share([], [])


def test_a_step_of_min_norm_by_hand():
    module, same = two_losses(), two_losses()
    batch = next(iter(loader()))
    objective, z = same.objective, torch.stack([same.encoder(x) for x in batch["views"]])
    contrast = Contrast.from_views(z, label=batch["label"], index=batch["index"])
    one, two = objective.objective(contrast), sum(term(objective.prepare(contrast)) for term in objective.regularisers)
    names, parameters = zip(*same.named_parameters(), strict=True)
    grads = [torch.autograd.grad(x, parameters, retain_graph=True, allow_unused=True) for x in (one, two)]
    shared = [i for i, name in enumerate(names) if name.startswith("encoder")]
    a = min_norm_share(*([g[i] for i in shared] for g in grads)).item()
    assert 0 < a < 1
    fit(module, steps=1)
    for i, (name, p) in enumerate(module.named_parameters()):
        step = (parameters[i] - p) / 0.05
        expected = a * grads[0][i] + (1 - a) * grads[1][i] if i in shared else grads[1][i]
        torch.testing.assert_close(step, expected, rtol=1e-3, atol=1e-4, msg=name)


def test_steps_of_two_players_by_hand():
    module = alternating(optimizer=sgd, opponent_optimizer=lambda p: torch.optim.SGD(p, lr=0.5), opponent_steps=2)
    same = alternating()
    batch = next(iter(loader(keys=PAIRS)))
    objective = same.objective.train()
    ours = [p for name, p in same.named_parameters() if "opponent" not in name]
    (contrast,) = objective.directions(same.contrast(batch))
    loss = objective.evaluate(contrast).loss
    for p, g in zip(ours, torch.autograd.grad(loss, ours), strict=True):
        p.data -= 0.05 * g
    for _ in range(2):
        theirs = objective.opponent_loss(contrast)
        rivals = list(objective.opponent.parameters())
        for p, g in zip(rivals, torch.autograd.grad(theirs, rivals), strict=True):
            p.data -= 0.5 * g
    t = fit(module, steps=1, data=loader(keys=PAIRS))
    torch.testing.assert_close(weights(module), weights(same))
    assert t.global_step == 1, "the opponent's steps are not counted"


def test_the_schedule_moves_and_teachers_follow():
    module = two_losses(lr_scheduler=lambda o: WarmupCosine(o), key_encoder=Momentum(0.5))
    copy = two_losses(key_encoder=Momentum(0.5))
    t = fit(module, steps=4)
    assert t.lr_scheduler_configs[0].scheduler.last_epoch == 4
    assert not torch.equal(weights(module.key_encoder), weights(copy.key_encoder))


def test_resume(tmp_path):
    for name, build, keys in (("two", alternating, PAIRS), ("norm", two_losses, ("views",))):
        (tmp_path / name).mkdir()
        scheduled = lambda: build(lr_scheduler=lambda o: WarmupCosine(o))  # noqa: E731, B023
        assert_resumes_exactly(tmp_path / name, scheduled, list, stop=2, steps=5, data=loader(keys=keys))


@pytest.mark.parametrize(("build", "keys"), [(alternating, PAIRS), (two_losses, ("views",))])
def test_two_processes(tmp_path, build, keys):
    assert_two_processes_train_as_one(tmp_path, build, list, steps=4, keys=keys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_clip_val": 1.0}, "gradient clipping"),
        ({"accumulate_grad_batches": 2}, "gradient accumulation"),
        ({"precision": "16-true"}, "without the scaler"),
    ],
)
def test_what_does_not_hold_is_refused_at_set_up(options, message, monkeypatch):
    for module in (alternating(), two_losses()):
        before = weights(module).clone()
        with pytest.raises(Exception, match=message):
            fit(module, data=loader(keys=PAIRS), **options)
        assert torch.equal(before, weights(module))


def test_bf16_holds():
    module = alternating()
    before = weights(module).clone()
    fit(module, steps=2, data=loader(keys=PAIRS), precision="bf16-mixed")
    assert torch.isfinite(weights(module)).all()
    assert not torch.equal(before, weights(module))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: ContrastiveModule(linear(), vae()), "use AlternatingModule"),
        (lambda: AlternatingModule(linear(), InfoNCE()), "objective with an opponent"),
        (lambda: alternating(opponent_steps=0), "opponent_steps=0"),
        (lambda: MinNormModule(linear(), InfoNCE()), "give objective=Regularised"),
        (lambda: fit(two_losses(lr_scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau)), "ReduceLROnPlateau"),
    ],
)
def test_misuse(bad, message):
    with pytest.raises((TypeError, ValueError), match=message):
        bad()
