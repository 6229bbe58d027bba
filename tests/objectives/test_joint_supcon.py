"""Xue et al. 2023: SupCon and NT-Xent, weighed."""

import functools

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import InfoNCE, JointSupCon, SupCon
from lightning_contrast.targets import SameSuperclass
from tests.objective_tester import ObjectiveTester
from tests.objectives.test_infonce import infonce

Z = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DIGITS = torch.arange(10)
PARITY = [0, 1] * 5


class TestSupervised(ObjectiveTester):
    objective = functools.partial(JointSupCon, weight=1.0)
    oracle = staticmethod(infonce)
    setting, target = "views", "label"
    ring = False


class TestUnsupervised(ObjectiveTester):
    objective = functools.partial(JointSupCon, weight=0.0)
    oracle = staticmethod(infonce)
    setting = "views"
    ring = False


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_is_the_weighted_sum(weight: float) -> None:
    z = Z.clone().requires_grad_()
    label = DIGITS % 3
    found = JointSupCon(0.3, weight)(Contrast.from_views(z, label=label))
    expected = weight * SupCon(0.3)(Contrast.from_views(z, label=label))
    expected = expected + (1 - weight) * InfoNCE(0.3)(Contrast.from_views(z))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in (found, expected)))


def test_superclasses() -> None:
    coarse = JointSupCon(0.3, 0.7, superclass=PARITY)(Contrast.from_views(Z, label=DIGITS))
    torch.testing.assert_close(coarse, JointSupCon(0.3, 0.7)(Contrast.from_views(Z, label=DIGITS % 2)))
    by_target = SupCon(0.3)(Contrast.from_views(Z, label=DIGITS).retarget(SameSuperclass(PARITY)))
    torch.testing.assert_close(by_target, SupCon(0.3)(Contrast.from_views(Z, label=DIGITS % 2)))
    with pytest.raises(ValueError, match="superclass speaks of 2 labels, but 'label' has 9"):
        JointSupCon(superclass=[0, 0])(Contrast.from_views(Z, label=DIGITS))


def test_unlabelled_rows_have_their_partner() -> None:
    nobody = torch.full((10,), -1)
    torch.testing.assert_close(
        JointSupCon(0.3, 0.7)(Contrast.from_views(Z, label=nobody)), InfoNCE(0.3)(Contrast.from_views(Z))
    )


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"weight=1\.5"):
        JointSupCon(weight=1.5)
    with pytest.raises(ValueError, match="superclass="):
        SameSuperclass([])
