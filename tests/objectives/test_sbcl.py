"""Hou et al. 2023."""

import math

import pytest
import torch

from lightning_contrast import Contrast
from lightning_contrast.functional.balanced_kmeans import balanced_assignment, balanced_kmeans
from lightning_contrast.functional.class_concentration import class_concentration
from lightning_contrast.objectives import SBCL, SupCon
from tests.objective_tester import ObjectiveTester
from tests.objectives.plain import dot, lse, mean, units


def supcon_of_one_anchor(logits: list[float], targets: list[float]) -> float | None:
    """Without subclasses it is SupCon."""
    if not any(targets):
        return None
    return mean([lse(logits) - x for x, t in zip(logits, targets, strict=True) if t])


class TestSBCL(ObjectiveTester):
    objective = SBCL
    oracle = staticmethod(supcon_of_one_anchor)
    setting = "views"
    target = "label"
    ring = False


def naive(z: torch.Tensor, y: list[int], g: list[int], t1: float, t2: list[float], b: float) -> float:
    u = [v for view in units(z) for v in view]
    v = z.shape[0]
    y, g, t2 = y * v, g * v, t2 * v
    rows = []
    for i, a in enumerate(u):
        others = [j for j in range(len(u)) if j != i]
        own, rest = [j for j in others if g[j] == g[i]], [j for j in others if y[j] == y[i] and g[j] != g[i]]
        if not own and not rest:
            continue
        s = [dot(a, x) for x in u]
        value = mean([lse([s[j] / t1 for j in others]) - s[p] / t1 for p in own]) if own else 0.0
        if rest:
            among = [s[j] / t2[i] for j in others if j not in own]
            value += b * mean([lse(among) - s[p] / t2[i] for p in rest])
        rows.append(value)
    return mean(rows)


@pytest.mark.parametrize("views", [1, 2])
def test_double_loop(views: int) -> None:
    z = torch.randn(views, 8, 3, dtype=torch.float64, requires_grad=True)
    y, g = [0, 0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 3, 3, 4]
    t2 = torch.rand(8, dtype=torch.float64) + 0.2

    def loss(z: torch.Tensor) -> torch.Tensor:
        known = {"subclass": torch.tensor(g), "subclass_temperature": t2}
        return SBCL(0.7, 0.4)(Contrast.from_views(z, label=torch.tensor(y), **known))

    assert loss(z).item() == pytest.approx(naive(z.detach(), y, g, 0.4, t2.tolist(), 0.7), rel=1e-9)
    assert torch.autograd.gradcheck(loss, z)


def test_an_instance_of_a_large_class_pulls_no_harder() -> None:
    """10 : 1 in one place each: SupCon's second class gets a tenth of the gradient an instance, SBCL's does not.

    The gradient of an instance as a positive of others: SupCon gives each of the ten a small share, subclasses of the small
    class's size give every instance the same.
    """
    g = torch.Generator().manual_seed(0)
    centre = torch.nn.functional.normalize(torch.randn(2, 8, generator=g, dtype=torch.float64), dim=1)
    label = torch.tensor([0] * 40 + [1] * 4)
    z = centre[label] + 0.3 * torch.randn(44, 8, generator=g, dtype=torch.float64)
    subclass = torch.cat([torch.arange(40) // 4, torch.tensor([10] * 4)])

    def pull(objective, **known):
        """Mean weight of a pair of the same class (same subclass, where there are any) in the numerator, by class."""
        c = objective.prepare(Contrast.from_views(z[None], label=label, **known))
        target = c.scores().target
        positive = (target == 1).double()
        share = positive / positive.sum(1, keepdim=True)
        per_pair = [share[label == k][:, label == k].sum() / positive[label == k].sum() for k in (0, 1)]
        return (per_pair[0] / per_pair[1]).item()

    assert pull(SupCon(0.1)) == pytest.approx(3 / 39)
    assert pull(SBCL(0.2, 0.1), subclass=subclass) == pytest.approx(1.0)


@pytest.mark.parametrize(("n", "k"), [(10, 3), (12, 4), (7, 7), (9, 1)])
def test_clusters_are_equally_large(n: int, k: int) -> None:
    z = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    sizes = torch.bincount(balanced_kmeans(z, k), minlength=k)
    assert sizes.sum() == n
    assert sizes.max() - sizes.min() <= 1
    assert torch.equal(balanced_kmeans(z, k), balanced_kmeans(z, k))


def test_balanced_assignment_by_hand() -> None:
    """All want the first column; the two best get it, the others go to the second."""
    score = torch.tensor([[0.9, 0.1], [0.8, 0.7], [0.7, 0.0], [0.95, 0.3]])
    assert balanced_assignment(score).tolist() == [0, 1, 1, 0]


def test_balanced_clusters_find_what_is_balanced() -> None:
    centre = torch.eye(4)
    z = centre.repeat_interleave(6, 0) + 0.05 * torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    found = balanced_kmeans(z, 4).reshape(4, 6)
    assert (found == found[:, :1]).all()
    assert len(found[:, 0].unique()) == 4


def test_class_concentration_by_hand() -> None:
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    phi = class_concentration(z, torch.tensor([0, 0, 2]))
    assert phi[0].item() == pytest.approx(math.sqrt(0.5) / math.log(12))
    assert phi[1].isnan()
    assert phi[2].item() == 0


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="weight=-1"):
        SBCL(-1)
    with pytest.raises(KeyError, match="label"):
        SBCL()(Contrast.from_views(torch.randn(2, 3, 4)))
