"""BECLR: alignment with the teacher, uniformity of the student, and the clustered memory that enlarges both."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import ClusteredMemory
from lightning_contrast.callbacks.clustered_fifo import ClusteredFifo
from lightning_contrast.callbacks.prototypes import Prototypes
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.heads import LinearHead
from lightning_contrast.objectives import BECLR, SimSiam
from tests.callbacks.kit import (
    Losses,
    SaveAt,
    assert_resumes_exactly,
    assert_two_processes_train_as_one,
    fit,
    moco,
    simclr,
)
from tests.objective_tester import ObjectiveTester
from tests.objectives.classic_cases import samples
from tests.objectives.plain import cosine, mean


def plain_uniformity(rows, of, tau):
    found = []
    for i, a in enumerate(rows):
        others = [math.exp(cosine(a, b) / tau) for j, b in enumerate(rows) if of[i] != of[j]]
        found.append(mean(others))
    return math.log(mean(found))


class TestBECLR(ObjectiveTester):
    objective = staticmethod(lambda temperature: BECLR(temperature, 0.3))
    setting = "views"
    ring = False

    @classmethod
    def naive(cls, z, tau, teacher=None):
        teacher = z if teacher is None else teacher
        n = z.shape[1]
        align = mean([cosine(z[v, i], teacher[1 - v, i]) for v in range(2) for i in range(n)])
        return -align + 0.3 * plain_uniformity([*z[0], *z[1]], list(range(n)) * 2, tau)

    def test_gradient_of_a_double_loop(self):
        """The teacher is a constant."""
        z, step = self.data(4, dim=3), 1e-5
        z.requires_grad_()
        (grad,) = torch.autograd.grad(self.make(0.5)(self.contrast(z)), z)
        for place in range(0, z.numel(), 2):
            move = torch.zeros(z.numel(), dtype=z.dtype)
            move[place] = step
            up, down = (self.naive(z.detach() + sign * move.view_as(z), 0.5, teacher=z.detach()) for sign in (1, -1))
            assert grad.flatten()[place].item() == pytest.approx((up - down) / (2 * step), abs=1e-6)

    def test_gradcheck(self):
        teacher = self.data(4, dim=3, seed=3)
        loss = self.make(0.5)

        def value(z):
            return loss([Contrast.from_pairs(z[0], teacher[1]), Contrast.from_pairs(z[1], teacher[0])])

        assert torch.autograd.gradcheck(value, self.data(4, dim=3).requires_grad_())


def test_worked_number():
    """Two identical orthonormal views, N = 2, tau = 2."""
    eye = torch.eye(2).double()
    loss = BECLR(2.0, 0.1)
    for contrast in (
        Contrast.from_views(eye.expand(2, 2, 2)),
        [Contrast.from_pairs(eye, eye), Contrast.from_pairs(eye, eye)],
    ):
        assert loss(contrast).item() == pytest.approx(-1.0, abs=1e-12)
        assert BECLR(2.0, 0.0)(contrast).item() == pytest.approx(-1.0, abs=1e-12)


def test_both_orders_of_a_teacher_are_one_contrast():
    x, y, _ = samples(5)
    s, t = samples(5, seed=3)[:2]
    torch.manual_seed(0)
    predictor = LinearHead(x.shape[1]).double()
    loss = BECLR(0.7, 0.2, predictor)
    value = loss([Contrast.from_pairs(x, t), Contrast.from_pairs(y, s)])
    px, py = predictor(x).detach(), predictor(y).detach()
    align = mean([cosine(px[i], t[i]) for i in range(5)] + [cosine(py[i], s[i]) for i in range(5)])
    expected = -align + 0.2 * plain_uniformity([*x, *y], list(range(5)) * 2, 0.7)
    assert math.isclose(value.item(), expected, rel_tol=1e-9)


def test_without_uniformity_it_is_simsiam():
    x, y, _ = samples(6)
    orders = [Contrast.from_pairs(x, y), Contrast.from_pairs(y, x)]
    torch.testing.assert_close(BECLR(weight=0)(orders), SimSiam()(orders))


def test_copies_of_a_sample_do_not_repel_each_other():
    x, y, _ = samples(4)
    index = torch.tensor([5, 6, 5, 7])
    value = BECLR(0.5, 1.0)(Contrast.from_views(torch.stack([x, y]), index=index))
    align = mean([cosine(x[i], y[i]) for i in range(4)])
    assert math.isclose(value.item(), -align + plain_uniformity([*x, *y], index.tolist() * 2, 0.5), rel_tol=1e-9)


def test_neighbours_are_rows_of_the_batch():
    x, y, _ = samples(3)
    z, p, t = (F.normalize(samples(12, seed=s)[0].reshape(6, 2, -1), dim=-1) for s in (4, 5, 6))
    block = Candidates(z, {"prediction": p, "teacher": t}, name="neighbours", where="private", prepared=True)
    value = BECLR(0.5, 0.3)(Contrast.from_views(torch.stack([x, y])).append(block))
    aligned = [cosine(x[i], y[i]) for i in range(3)] * 2
    aligned += [cosine(p[i, m], t[i, m]) for i in range(6) for m in range(2)]
    rows, of = [*x, *y], [(i, 0) for i in range(3)] * 2
    rows += [z[i, m] for i in range(6) for m in range(2)]
    of += [(i % 3, m + 1) for i in range(6) for m in range(2)]
    assert math.isclose(value.item(), -mean(aligned) + 0.3 * plain_uniformity(rows, of, 0.5), rel_tol=1e-9)


# The memory -----------------------------------------------------------------------------------------------------------


def filled(size=40, k=4, d=5):
    fifo = ClusteredFifo(size, Prototypes(k, 0.9), 20, 0)
    z = F.normalize(torch.randn(size + 8, d, generator=torch.Generator().manual_seed(0)), dim=1)
    for part, index in zip(z.split(8), torch.arange(size + 8).split(8), strict=True):
        fifo.write(part, index, "test")
    return fifo, z


def test_the_memory_never_exceeds_its_size():
    fifo, _ = filled()
    assert fifo.fifo.fill == 40
    assert fifo.ready
    assert sorted(fifo.fifo.columns["index"].tolist()) == list(range(8, 48))
    assert (fifo.fifo.columns["cluster"] >= 0).all()


def test_neighbours_by_hand():
    fifo, z = filled()
    held = fifo.fifo.columns
    near, samples_ = fifo.neighbours(z[:10], torch.arange(10), 3)
    for i in range(10):
        c = int((F.normalize(fifo.prototypes.z, dim=1) @ z[i]).argmax())
        rows = [j for j in range(40) if held["cluster"][j] == c and held["index"][j] != i]
        if len(rows) < 3:
            rows = [j for j in range(40) if held["index"][j] != i]
        best = sorted(rows, key=lambda j: -float(held["z"][j] @ z[i]))[:3]
        assert samples_[i].tolist() == held["index"][best].tolist()
        assert torch.equal(near[i], held["z"][best])


def test_a_small_partition_falls_back_to_the_whole_memory():
    fifo, z = filled()
    assert fifo.neighbours(z[:4], torch.full((4,), -1), 40)[1].sort(1).values.tolist() == [list(range(8, 48))] * 4


def build():
    torch.manual_seed(5)
    predictor = LinearHead(16)
    predictor(torch.zeros(1, 16))
    return moco(objective=BECLR(2.0, 0.1, predictor), both_orders=True)


def memory(**kwargs):
    return [ClusteredMemory(**{"prototypes": 4, "scale": 25, "k": 3, "start_epoch": 1, "every_n_epochs": 1, **kwargs})]


def test_the_memory_joins_after_the_start_epoch():
    record = Losses()
    t = fit(build(), [*memory(), record], steps=8, log_every_n_steps=1)
    assert [len(c.candidates) for c in record.contrasts] == [1] * 4 + [2] * 4
    block = record.contrasts[-1].candidates[-1]
    assert block.z.shape == (64, 3, 16)
    assert t.callback_metrics["neighbours/fill"] == 1
    own = record.contrasts[-1].anchors.payload["index"][:, None]
    assert not (block.payload["index"] == own).any()


def test_before_the_start_epoch_the_memory_changes_nothing():
    alone, with_memory = Losses(), Losses()
    fit(build(), [alone], steps=6)
    fit(build(), [*memory(start_epoch=9), with_memory], steps=6)
    assert alone.losses == with_memory.losses


@pytest.mark.parametrize("teacher", [build, lambda: simclr(BECLR(0.5, 0.1), dropout=0)], ids=["momentum", "views"])
def test_resume(tmp_path, teacher):
    assert_resumes_exactly(tmp_path, teacher, memory)


def test_two_processes(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, build, memory)
    for source in ("student", "prediction", "teacher"):
        a, b = (state[0][source]["fifo"]["columns"] for state in (one, two))
        torch.testing.assert_close(a["z"], b["z"], rtol=0, atol=1e-5)
        assert torch.equal(a["index"], b["index"])


def test_resumes_at_another_number_of_processes(tmp_path):
    path = tmp_path / "a.ckpt"
    fit(build(), [*memory(), SaveAt(6, path)], steps=6)
    fit(build(), memory(), 8, ckpt=path, strategy="ddp_fork", devices=2)


def test_misuse():
    for bad in ({"scale": 0}, {"k": 0}, {"k": 101}, {"every_n_epochs": 0}, {"start_epoch": -1}, {"prototypes": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
            memory(**bad)
    with pytest.raises(ValueError, match="weight=-1"):
        BECLR(weight=-1)
    with pytest.raises(ValueError, match="use it with the objective BECLR"):
        fit(moco(), memory())
    (one,), (other,) = memory(), memory(scale=30)
    with pytest.raises(ValueError, match="truncated or another class's"):
        one.load_state_dict({"columns": {}})
    with pytest.raises(ValueError, match="has 120 rows, now 100"):
        one.load_state_dict(other.state_dict())
