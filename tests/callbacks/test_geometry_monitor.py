"""GeometryMonitor: figures by hand, chance level, collapse."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.callbacks import GeometryMonitor, MemoryQueue, ScoreHistograms
from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.contrast import Candidates, ready
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.spectrum import effective_rank
from lightning_contrast.metrics import GradientShare
from lightning_contrast.objectives import InfoNCE, SepCLR, SimSiam, SupCon
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr
from tests.modules.test_contrastive import LABELS, linear, loader

E = torch.eye(4)


def scored(contrast, objective):
    (one,) = objective.directions(contrast)
    return ready(one)


def test_worked_numbers():
    a = torch.stack([E[0], E[1]])
    b = torch.stack([E[0], (E[0] + E[1]) / math.sqrt(2)])
    out = GeometryMonitor().figures(scored(Contrast.from_pairs(a, b), InfoNCE(0.1)), InfoNCE(0.1))
    half = math.sqrt(0.5)
    expected = {
        "positive": (1 + half) / 2,
        "hardest_negative": (half + 0) / 2,
        "negatives": 1.0,
        "alignment": (0 + 2 - 2 * half) / 2,
        "uniformity": -4.0,
        "effective_rank": 1.0,
        "chance": math.log(2),
        "cosine": 0.5,
        "length": 1.0,
    }
    assert {k: v.item() for k, v in out.items()} == pytest.approx(expected, abs=1e-6)


def test_of_views_equals_the_functions():
    z = torch.randn(2, 40, 8)
    out = GeometryMonitor(sample=40).figures(scored(Contrast.from_views(z), InfoNCE(0.1)), InfoNCE(0.1))
    assert out["alignment"].item() == pytest.approx(alignment(z[0], z[1]).item(), abs=1e-5)
    assert out["uniformity"].item() == pytest.approx(uniformity(z[0]).item(), abs=1e-5)
    unit = nn.functional.normalize(z[0], dim=1)
    assert out["effective_rank"].item() == pytest.approx(effective_rank(unit).item(), abs=1e-4)
    assert out["chance"].item() == pytest.approx(math.log(79), abs=1e-5)
    assert out["negatives"].item() == 78


@pytest.mark.parametrize("objective", [InfoNCE(0.1), SupCon(0.1), SupCon(0.3, mean="inside")], ids=repr)
@pytest.mark.parametrize("queue", [0, 30])
def test_chance_is_the_loss_of_equal_embeddings(objective, queue):
    z = torch.ones(2, 20, 8)
    contrast = scored(Contrast.from_views(z, label=LABELS[:20], index=torch.arange(20)), objective)
    random = scored(Contrast.from_views(torch.randn(2, 20, 8), label=LABELS[:20], index=torch.arange(20)), objective)
    if queue:
        payload = {"label": LABELS[100 : 100 + queue]}
        contrast = contrast.append(Candidates(torch.ones(queue, 8), payload, "queue", "replicated"))
        random = random.append(Candidates(torch.randn(queue, 8), payload, "queue", "replicated", prepared=True))
    expected = objective.evaluate(contrast).loss.item()
    assert GeometryMonitor().figures(ready(random), objective)["chance"].item() == pytest.approx(expected, abs=1e-5)


def test_several_codes_are_looked_at_side_by_side():
    common, salient = (nn.functional.normalize(torch.randn(2, 8, width), dim=2) for width in (4, 3))
    label = torch.arange(8) % 2
    pairs = [(common[i], salient[i]) for i in (0, 1)]
    out = GeometryMonitor().figures(scored(Contrast.from_pairs(*pairs, label=label), SepCLR()), SepCLR())
    plain = Contrast.from_pairs(*(torch.cat(pair, 1) for pair in pairs), label=label)
    expected = GeometryMonitor().figures(scored(plain, InfoNCE(0.1)), InfoNCE(0.1))
    for name in ("alignment", "uniformity", "effective_rank", "negatives"):
        torch.testing.assert_close(out[name], expected[name])


def test_some_anchors_keep_their_private_candidates():
    a = torch.randn(12, 4)
    block = Candidates(torch.randn(4, 5, 4), name="group", where="private")  # three anchors share five
    contrast = scored(Contrast.from_pairs(a, a, in_batch=False).append(block), InfoNCE())
    some = some_anchors(contrast, 7)
    assert some.anchors.rows == 6
    torch.testing.assert_close(some.scores().dense("similarity"), contrast.scores().dense("similarity")[:6])
    assert some_anchors(contrast, 100, entries=20).anchors.rows == 3


@pytest.mark.parametrize(
    "module",
    [
        lambda: moco(),
        lambda: moco(in_batch=True, both_orders=True),
        lambda: simclr(SupCon(0.2)),
        lambda: simclr(InfoNCE(0.1), chunk_size=10),
    ],
)
def test_logs_under_the_trainer(module):
    t = fit(module(), [MemoryQueue(64), GeometryMonitor()], steps=4, log_every_n_steps=1)
    names = ("alignment", "uniformity", "effective_rank", "positive", "hardest_negative", "negatives", "chance")
    values = {name: t.callback_metrics[f"geometry/{name}"].item() for name in names}
    assert all(math.isfinite(v) for v in values.values())
    assert 0 <= values["alignment"] <= 4
    assert values["negatives"] > 60
    assert "geometry/cosine" not in t.callback_metrics


def test_every_n_steps():
    looks = []

    class Count(GeometryMonitor):
        def figures(self, *args):
            looks.append(1)
            return super().figures(*args)

    fit(simclr(), [Count()], steps=9)
    assert len(looks) == 1, "the first step; the next logging step is the 50th"
    fit(simclr(), [Count(every_n_steps=4)], steps=9, log_every_n_steps=1)
    assert len(looks) == 1 + 3


def test_training_is_left_alone(tmp_path):
    assert_resumes_exactly(tmp_path, simclr, lambda: [GeometryMonitor(), MemoryQueue(100)], log_every_n_steps=1)
    build = lambda: simclr(dropout=0)  # noqa: E731
    assert_two_processes_train_as_one(tmp_path, build, lambda: [GeometryMonitor()], log_every_n_steps=1)


def batch_norm_and_dropout():
    torch.manual_seed(0)
    layers = (nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 16))
    return ContrastiveModule(nn.Sequential(*layers), HardenedInfoNCE(0.2), optimizer=sgd(0.1))


class HardenedInfoNCE(InfoNCE):
    """One that keeps a running figure and draws a random number whenever it is asked."""

    form = None

    def __init__(self, temperature):
        super().__init__(temperature)
        self.register_buffer("asked", torch.zeros(()))

    def rows(self, scores):
        self.asked += 1 + torch.rand(())
        return super().rows(scores)


@pytest.mark.parametrize(
    "kwargs", [{}, {"precision": "bf16-mixed"}, {"accumulate_grad_batches": 2}], ids=["plain", "bf16", "accumulated"]
)
def test_weights_statistics_and_random_numbers_are_those_without_a_monitor(kwargs):
    states = []
    for callbacks in ([], [GeometryMonitor(gradient_share=True)]):
        module = batch_norm_and_dropout()
        t = fit(module, [*callbacks, MemoryQueue(64)], steps=4, log_every_n_steps=1, **kwargs)
        states.append({**module.state_dict(), "random": torch.get_rng_state()})
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    figures = {key: float(value) for key, value in t.callback_metrics.items() if key.startswith("geometry/")}
    assert all(math.isfinite(value) for value in figures.values())
    assert 0 < figures["geometry/seconds"] < 60


def test_gradient_share_is_the_metrics():
    """All anchors fit into the sample, so that the figures are those of the whole batch."""
    z = nn.functional.normalize(torch.randn(2, 30, 8), dim=2)
    found = GeometryMonitor(gradient_share=True).figures(scored(Contrast.from_views(z), InfoNCE(0.1)), InfoNCE(0.1))
    metric = GradientShare(temperature=0.1)
    metric.update(z.flatten(0, 1), torch.arange(30).repeat(2))
    for name, value in metric.compute().items():
        ours = {"effective_negatives": name}.get(name, f"gradient_{name}")
        assert found[ours].item() == pytest.approx(value.item(), rel=1e-4)
    queue = Candidates(z[0, :5], {}, "queue", "replicated", prepared=True)
    weightless = scored(Contrast.from_views(z).append(queue), InfoNCE(0.1)).add_log_weight(
        lambda pair: torch.full((1, 1), -torch.inf), on="queue"
    )
    out = GeometryMonitor(gradient_share=True).figures(weightless, InfoNCE(0.1))
    assert out["effective_negatives"].item() == pytest.approx(found["effective_negatives"].item(), rel=1e-5)


class TwoCodes(ContrastiveModule):
    def contrast(self, batch):
        z = [self.project(view) for view in batch["views"]]
        return Contrast.from_pairs(*((a[:, :10], a[:, 10:]) for a in z), label=batch["label"], index=batch["index"])


def test_tuples_of_codes_are_monitored(tmp_path):
    module = TwoCodes(linear(), SepCLR(key="label"), optimizer=sgd(0.01))
    t = fit(module, [GeometryMonitor(gradient_share=True), ScoreHistograms()], steps=2, log_every_n_steps=1,
            default_root_dir=tmp_path)  # fmt: skip
    for name in ("alignment", "uniformity", "effective_rank", "positive", "hardest_negative", "gradient_hardest_1"):
        assert math.isfinite(t.callback_metrics[f"geometry/{name}"]), name
    assert (tmp_path / "scores.json").is_file()


class Constant(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.layer, self.noise = nn.Linear(64, 16), noise

    def forward(self, x):
        return self.layer(x) * self.noise + torch.ones(16)


def sgd(lr, momentum=0.9, weight_decay=0.0):
    return lambda p: torch.optim.SGD(p, lr=lr, momentum=momentum, weight_decay=weight_decay)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))


def predictor():
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))


def one_picture():
    """A camera that is stuck."""
    batch = {"views": [torch.ones(32, 64) + 1e-4 * torch.randn(32, 64) for _ in range(2)], "index": torch.arange(32)}
    return DataLoader([batch] * 4, batch_size=None)


def zeros():
    module = ContrastiveModule(nn.Sequential(nn.Linear(64, 16), nn.ReLU()), InfoNCE(0.2), optimizer=sgd(0.1))
    nn.init.constant_(module.encoder[0].bias, -1e3)
    return module


# Trained until they collapse, but for those with Constant and the dead layer, which have nothing to train.
COLLAPSES = {
    "learning rate too high": (lambda: ContrastiveModule(mlp(), InfoNCE(0.2), optimizer=sgd(10.0)),
        "one point .*learning rate 10 is too high: the weights are"),
    "weight decay too strong": (lambda: ContrastiveModule(mlp(), InfoNCE(0.2), optimizer=sgd(0.1, 0.0, 4.0)),
        "one point .*weight decay is too strong"),
    "no negatives, no predictor": (lambda: ContrastiveModule(mlp(), SimSiam(), optimizer=sgd(0.5)),
        "one point .*no negatives, so nothing pushes them apart"),
    "no negatives, no BatchNorm": (lambda: ContrastiveModule(mlp(), SimSiam(), predictor=predictor(), optimizer=sgd(0.5)),
        "one point .*neither negatives nor BatchNorm"),
    "inputs alike": (lambda: ContrastiveModule(mlp(), InfoNCE(0.2), optimizer=sgd(0.1)), "one point .*inputs of a batch are all alike"),
    "temperature": (lambda: ContrastiveModule(Constant(1e-3), InfoNCE(5.0), optimizer=sgd(0.0)), "one point .*temperature=5.0"),
    "nothing learned": (lambda: ContrastiveModule(Constant(1e-3), InfoNCE(0.2), optimizer=sgd(0.0)),
        "one point .*have not moved since step 0, .*learning rate 0"),
    "queue still empty": (lambda: moco_like(Constant(1e-3)), "one point .*no negatives"),
    "dead layer": (zeros, "all zero in all 16 dimensions"),
}  # fmt: skip


@pytest.mark.parametrize("name", COLLAPSES)
def test_warns_of_collapse_once_with_its_cause(name):
    make, told = COLLAPSES[name]
    data = one_picture() if name == "inputs alike" else None
    with pytest.warns(UserWarning, match=told) as caught:
        fit(make(), [GeometryMonitor()], steps=16, log_every_n_steps=1, data=data)
    assert sum("collapsed" in str(w.message) for w in caught) == 1


def moco_like(encoder):
    module = moco()
    module.encoder = encoder
    module.key_encoder.follow(module._online())
    module.optimizer = sgd(0.0)
    return module


def test_a_healthy_run_is_silent(recwarn):
    fit(simclr(), [GeometryMonitor()], steps=20, log_every_n_steps=1)
    siamese = ContrastiveModule(
        nn.Sequential(mlp(), nn.BatchNorm1d(16)),
        SimSiam(),
        predictor=predictor(),
        both_orders=True,
        optimizer=sgd(0.05),
    )
    fit(siamese, [GeometryMonitor()], steps=20, log_every_n_steps=1)
    fit(
        ContrastiveModule(linear(), SupCon(0.1)),
        [GeometryMonitor()],
        steps=5,
        log_every_n_steps=1,
        data=loader(batch=4),
    )
    assert not any("collapsed" in str(w.message) for w in recwarn)


@pytest.mark.parametrize(
    ("kwargs", "message"), [({"sample": 1}, "sample=1"), ({"every_n_steps": 0}, "every_n_steps=0")]
)
def test_bad_values(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GeometryMonitor(**kwargs)
