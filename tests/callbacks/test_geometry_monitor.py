"""GeometryMonitor: figures by hand, chance level, collapse."""

import math

import pytest
import torch
from torch import nn

from lightning_contrast import Contrast, ContrastiveModule
from lightning_contrast.callbacks import GeometryMonitor, MemoryQueue
from lightning_contrast.callbacks.sample import some_anchors
from lightning_contrast.contrast import Candidates, ready
from lightning_contrast.functional.geometry import alignment, uniformity
from lightning_contrast.functional.spectrum import effective_rank
from lightning_contrast.objectives import InfoNCE, SepCLR, SupCon
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


class Constant(nn.Module):
    def __init__(self, noise):
        super().__init__()
        self.layer, self.noise = nn.Linear(64, 16), noise

    def forward(self, x):
        return self.layer(x) * self.noise + torch.ones(16)


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda e: ContrastiveModule(e, InfoNCE(0.2), optimizer=still), "learning rate"),
        (lambda e: ContrastiveModule(e, InfoNCE(5.0), optimizer=still), "temperature=5.0"),
        (lambda e: moco_like(e), "no negatives"),
    ],
)
def test_warns_of_collapse_once(make, cause):
    monitor = GeometryMonitor()
    with pytest.warns(UserWarning, match=f"nearly one point .*{cause}") as caught:
        fit(make(Constant(1e-3)), [monitor], steps=8, log_every_n_steps=1)
    assert sum("collapsed" in str(w.message) for w in caught) == 1


def still(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


def moco_like(encoder):
    module = moco()
    module.encoder = encoder
    module.key_encoder.follow(module._online())
    module.optimizer = still
    return module


def test_a_healthy_run_is_silent(recwarn):
    fit(simclr(), [GeometryMonitor()], steps=20, log_every_n_steps=1)
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
