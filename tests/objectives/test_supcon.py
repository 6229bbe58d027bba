"""SupCon, the mean outside and inside the logarithm."""

import functools
import math

import pytest
import torch

from lightning_contrast import Candidates, Contrast
from lightning_contrast.objectives import InfoNCE, SupCon
from tests.objective_tester import ObjectiveTester
from tests.objectives.test_infonce import infonce


def inside(logits: list[float], targets: list[float]) -> float | None:
    """Eq. 3 of Khosla et al."""
    positives = [math.exp(x) for x, t in zip(logits, targets, strict=True) if t > 0]
    if not positives:
        return None
    return -math.log(math.fsum(positives) / len(positives) / math.fsum(map(math.exp, logits)))


class TestOutside(ObjectiveTester):
    objective = SupCon
    oracle = staticmethod(infonce)
    setting, target = "views", "label"


class TestInside(ObjectiveTester):
    objective = functools.partial(SupCon, mean="inside")
    oracle = staticmethod(inside)
    setting, views, target = "views", 1, "label"


class TestPairs(ObjectiveTester):
    objective = SupCon
    oracle = staticmethod(infonce)
    target = "label"


# The published losses, beside a plain loop and hand-computed numbers --------------------------------------------------


def plain(z: list[list[float]], label: list[int], tau: float, mean: str) -> float:
    """Eq. 2 and 3 of Khosla et al. over unit rows, anchors without a positive left out."""
    n, losses = len(z), []
    s = [[math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / tau) for b in z] for a in z]
    for i in range(n):
        others = [j for j in range(n) if j != i]
        positives = [j for j in others if label[i] == label[j] and label[i] >= 0]
        if positives:
            p = [s[i][j] / sum(s[i][k] for k in others) for j in positives]
            losses.append(-sum(map(math.log, p)) / len(p) if mean == "outside" else -math.log(sum(p) / len(p)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("mean", ["outside", "inside"])
@pytest.mark.parametrize("views", [1, 2, 3])
def test_plain_loop(mean: str, views: int) -> None:
    z = torch.randn(views, 7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    label = torch.tensor([0, 1, 0, 2, -1, 1, 0])  # one of its own class, one unlabelled
    rows = torch.nn.functional.normalize(z.reshape(-1, 3), dim=1).tolist()
    loss = SupCon(0.5, mean=mean)(Contrast.from_views(z, label=label))  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(plain(rows, label.tolist() * views, 0.5, mean))


def test_by_hand() -> None:
    """Orthogonal rows, three candidates each: log 3."""
    z, label = torch.eye(4)[None], torch.tensor([0, 0, 1, 1])
    for mean in ("outside", "inside"):
        assert SupCon(1.0, mean=mean)(Contrast.from_views(z, label=label)).item() == pytest.approx(math.log(3))  # type: ignore[arg-type]


def test_every_sample_its_own_class_is_nt_xent() -> None:
    z = torch.randn(2, 6, 4)
    contrast = Contrast.from_views(z, label=torch.arange(6))
    torch.testing.assert_close(SupCon(0.2)(contrast), InfoNCE(0.2)(contrast))


def test_weights_do_not_enter_the_numerator() -> None:
    z, label = torch.randn(2, 5, 4), torch.tensor([0, 1, 0, 1, 1])
    contrast = Contrast.from_views(z, label=label).add_log_weight(lambda p: p.similarity)
    for mean in ("outside", "inside"):
        objective = SupCon(0.5, mean=mean)  # type: ignore[arg-type]
        (prepared,) = objective.directions(contrast)
        scores = prepared.scores()
        (bare,) = objective.directions(Contrast.from_views(z, label=label))
        more = scores.logsumexp() - bare.scores().logsumexp()
        torch.testing.assert_close(objective(contrast), objective(Contrast.from_views(z, label=label)) + more.mean())


def test_labels_are_required() -> None:
    with pytest.raises(KeyError, match="no payload 'label'"):
        SupCon()(Contrast.from_views(torch.randn(2, 3, 4)))
    with pytest.raises(ValueError, match="mean='middle'"):
        SupCon(mean="middle")  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["dense", "tiles"])
def test_no_positive_anywhere_is_zero(path: str) -> None:
    z = torch.randn(1, 4, 3, requires_grad=True)
    objective = SupCon()
    objective.path = path  # type: ignore[assignment]
    loss = objective(Contrast.from_views(z, label=torch.arange(4)))
    loss.backward()
    assert loss.item() == 0
    assert not z.grad.any()


# Joints of a body (JOTR): one label a joint, background unlabelled, a bank of earlier joints ----------------------------


def test_joints_background_and_bank() -> None:
    z = torch.randn(9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    joint = torch.tensor([0, 1, 0, 1, -1, -1, 0, 1, 2])  # the last three are the bank's
    here = Contrast.from_views(z[None, :6], label=joint[:6])
    bank = Candidates(z[6:], {"label": joint[6:]}, name="queue", where="replicated")
    losses = []
    s = torch.nn.functional.cosine_similarity(z[:, None], z, dim=2) / 0.07
    for i in range(4):
        others = [j for j in range(9) if j != i]
        positives = [j for j in others if joint[j] == joint[i]]
        assert len(positives) == 2, "one in the batch, one in the bank"
        losses += [(s[i, others].logsumexp(0) - s[i, positives].mean()).item()]
    assert SupCon(0.07)(here.append(bank)).item() == pytest.approx(sum(losses) / 4)
