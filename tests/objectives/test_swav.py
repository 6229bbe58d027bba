"""SwAV: swapped prediction of balanced codes."""

import math

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import MemoryQueue
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.sinkhorn import sinkhorn
from lightning_contrast.objectives import SwAV
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.objective_tester import DIM, ObjectiveTester
from tests.objectives.classic_cases import samples
from tests.objectives.plain import cosine, log_sum_exp, mean

K = 3


def plain_codes(cosines, epsilon=0.05, iterations=3):
    """Alternate scaling of a matrix of Python floats ``[B][K]``."""
    q = [[math.exp(x / epsilon) for x in row] for row in cosines]
    b, k = len(q), len(q[0])
    for _ in range(iterations):
        column = [math.fsum(row[j] for row in q) for j in range(k)]
        q = [[row[j] / column[j] / k for j in range(k)] for row in q]
        q = [[x / math.fsum(row) / b for x in row] for row in q]
    return [[x * b for x in row] for row in q]


def plain_loss(views, weight, tau, queue=(), full=2, codes=None):
    cos = [[[cosine(row, p) for p in weight] for row in view] for view in views]
    held = [[cosine(row, p) for p in weight] for row in queue]
    codes = codes or [plain_codes(c + held)[: len(c)] for c in cos[:full]]
    pairs = []
    for a, code in enumerate(codes):
        for b, c in enumerate(cos):
            if a != b:
                log_p = [[x / tau - log_sum_exp([y / tau for y in row]) for x in row] for row in c]
                pairs.append(
                    mean(
                        [-math.fsum(q * p for q, p in zip(*two, strict=True)) for two in zip(code, log_p, strict=True)]
                    )
                )
    return mean(pairs)


class TestSwAV(ObjectiveTester):
    objective = staticmethod(lambda temperature: SwAV(K, temperature, dim=DIM))
    setting = "views"
    ring = False

    @classmethod
    def make(cls, temperature=0.5):
        return super().make(temperature).double()

    @classmethod
    def naive(cls, z, tau):
        return plain_loss([list(v) for v in z], list(cls.make().prototypes.weight.detach()), tau)

    def test_gradient_of_a_double_loop(self):
        """Codes are constants."""
        z, step = self.data(4), 1e-5
        z.requires_grad_()
        loss = self.make(0.5)
        (grad,) = torch.autograd.grad(loss(self.contrast(z)), z)
        weight = list(loss.prototypes.weight.detach())
        codes = [plain_codes([[cosine(row, p) for p in weight] for row in view]) for view in z.detach()]
        for place in range(0, z.numel(), 3):
            move = torch.zeros(z.numel(), dtype=z.dtype)
            move[place] = step
            up, down = (
                plain_loss([list(v) for v in z.detach() + sign * move.view_as(z)], weight, 0.5, codes=codes)
                for sign in (1, -1)
            )
            assert grad.flatten()[place].item() == pytest.approx((up - down) / (2 * step), abs=1e-6)

    def test_gradcheck(self):
        loss, z = self.make(0.5), self.data(4, dim=DIM).requires_grad_()
        views = F.normalize(z.detach(), dim=-1) @ F.normalize(loss.prototypes.weight.detach(), dim=-1).mT
        codes = iter([sinkhorn(v) for v in views] * 1000)
        loss.codes = lambda _: next(codes)
        weight = loss.prototypes.weight
        assert torch.autograd.gradcheck(lambda z, _: loss(self.contrast(z)), (z, weight))


def made(**kwargs):
    torch.manual_seed(3)
    return SwAV(K, 0.3, dim=5, **kwargs).double()


def test_small_views_predict_and_are_not_predicted():
    x, y, _ = samples(6)
    w = samples(6, seed=4)[0]
    loss = made()
    value = loss(Contrast.from_views(torch.stack([x, y, w])))
    expected = plain_loss([list(v) for v in (x, y, w)], list(loss.prototypes.weight.detach()), 0.3)
    assert math.isclose(value.item(), expected, rel_tol=1e-9)


def test_a_queue_takes_part_in_the_balance_only():
    x, y, _ = samples(6)
    held = samples(9, seed=7)[0]
    loss = made()
    contrast = Contrast.from_views(torch.stack([x, y]))
    queue = Candidates(held.requires_grad_(), name="queue", where="replicated")
    value = loss(contrast.append(queue))
    expected = plain_loss([list(x), list(y)], list(loss.prototypes.weight.detach()), 0.3, list(held.detach()))
    assert math.isclose(value.item(), expected, rel_tol=1e-9)
    value.backward()
    assert held.grad is None or not held.grad.any()
    assert not math.isclose(value.item(), loss(contrast).item(), rel_tol=1e-4)


def test_pairs_are_two_views():
    x, y, _ = samples(6)
    loss = made()
    torch.testing.assert_close(
        loss(Contrast.from_pairs(x, y)), loss(Contrast.from_views(torch.stack([x, y]))), rtol=1e-12, atol=0
    )


def test_gradient_of_a_view_flows_through_its_own_prediction_only():
    """With one full view its embedding is a code alone, so nothing reaches it."""
    x, y, _ = samples(6)
    x, y = x.requires_grad_(), y.requires_grad_()
    made(full_views=1)(Contrast.from_views(torch.stack([x, y]))).backward()
    assert not x.grad.any()
    assert y.grad.abs().sum() > 0


def test_equal_scores_give_uniform_codes():
    loss = made()
    torch.testing.assert_close(loss.codes(torch.full((4, K), 0.2)), torch.full((4, K), 1 / K))
    z = torch.ones(2, 6, 5).double()
    with torch.no_grad():
        loss.prototypes.weight.copy_(torch.ones(K, 5))
    assert loss(Contrast.from_views(z)).item() == pytest.approx(math.log(K))


def test_a_small_epsilon_is_a_hard_assignment_of_equal_size():
    x, _, _ = samples(6)
    loss = made(epsilon=1e-3, iterations=5000)
    code = loss.codes(loss.prototypes(x))
    assert torch.bincount(code.argmax(1)).tolist() == [2, 2, 2]


def test_prototypes_are_frozen_at_first():
    x, y, _ = samples(6)
    loss = made(frozen_steps=2)
    free = made()
    contrast = Contrast.from_views(torch.stack([x, y]))
    for step in range(4):
        loss.zero_grad()
        value = loss(contrast)
        value.backward()
        torch.testing.assert_close(value, free(contrast))
        assert bool(loss.prototypes.weight.grad.any()) == (step >= 2)
    other = made(frozen_steps=2)
    other.load_state_dict(loss.state_dict())
    assert other.calls == 4


def test_arguments_are_checked():
    for bad in ({"epsilon": 0.0}, {"iterations": 0}, {"full_views": 0}, {"frozen_steps": -1}, {"prototypes": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            SwAV(**{"prototypes": 3, **bad})
    with pytest.raises(ValueError, match="only one view"):
        made()(Contrast.from_views(samples(4)[0][None]))
    with pytest.raises(ValueError, match="one temperature for all"):
        made()(Contrast.from_views(torch.stack(samples(4)[:2])).replace(temperature=torch.ones(8)))


def trained():
    torch.manual_seed(2)
    return simclr(SwAV(6, 0.3, frozen_steps=2, dim=16), dropout=0)


def test_resume(tmp_path):
    _, (queue,) = assert_resumes_exactly(tmp_path, trained, lambda: [MemoryQueue(100)])
    assert queue.fill == 100


def test_two_processes_train_as_one(tmp_path):
    assert_two_processes_train_as_one(tmp_path, trained, lambda: [MemoryQueue(100)])


def test_trains_on_real_digits():
    record = Losses()
    fit(trained(), [MemoryQueue(100), record], steps=80)
    assert sum(record.losses[-10:]) < 0.8 * sum(record.losses[30:40])
