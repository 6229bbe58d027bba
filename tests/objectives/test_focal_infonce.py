"""InfoNCE in which what is found already counts less (kalm-v2)."""

import math

import pytest
import torch

from lightning_contrast.contrast import Candidates, Contrast, Dot
from lightning_contrast.objectives import FocalInfoNCE
from tests.objective_tester import ObjectiveTester


def loss_of_one_anchor(logits: list[float], targets: list[float]) -> float:
    total = math.log(math.fsum(map(math.exp, logits)))
    loss = total - math.fsum(x * t for x, t in zip(logits, targets, strict=True)) / math.fsum(targets)
    return (1 - math.exp(-loss)) ** 2.0 * loss


class TestFocalInfoNCE(ObjectiveTester):
    objective = FocalInfoNCE
    oracle = staticmethod(loss_of_one_anchor)

    @classmethod
    def make(cls, temperature=0.5):
        return FocalInfoNCE(2.0, temperature)

    def test_gradient_of_a_double_loop(self):
        """Not the derivative of the value, by design: see the gradient below."""

    def test_gradcheck(self):
        """The weight is a constant: the gradient is InfoNCE's times the weight."""
        s = torch.tensor([[1.6], [1.0], [-0.4]], dtype=torch.float64, requires_grad=True)
        c = Contrast.from_pairs(torch.ones(1, 1).double(), s[:1]).append(Candidates(s[1:], name="negative"))
        FocalInfoNCE(2.0, 1.0, Dot())(c).backward()
        p = torch.tensor([1.6, 1.0, -0.4]).double().softmax(0)
        expected = (1 - p[0]) ** 2 * (p - torch.tensor([1.0, 0.0, 0.0]))
        torch.testing.assert_close(s.grad.flatten(), expected)


def test_worked_number():
    s = torch.tensor([[0.8], [0.5], [-0.2]])
    c = Contrast.from_pairs(torch.ones(1, 1), s[:1]).append(Candidates(s[1:], name="negative"))
    assert FocalInfoNCE(0.5, 0.5, Dot())(c).item() == pytest.approx(0.33223, abs=1e-5)
    assert FocalInfoNCE(0.0, 0.5, Dot())(c).item() == pytest.approx(0.52126, abs=1e-5)


def test_a_sure_anchor_has_neither_loss_nor_nan():
    z = torch.eye(2).requires_grad_()
    FocalInfoNCE(0.5, 0.001)(Contrast.from_pairs(z, z.detach())).backward()
    assert torch.isfinite(z.grad).all()


def test_refused():
    with pytest.raises(ValueError, match="gamma=-1"):
        FocalInfoNCE(-1)
