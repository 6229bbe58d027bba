"""Zhang et al. 2024."""

import pytest
import torch

from lightning_contrast.callbacks import PrototypeMemory
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.functional.mixed_radix import join_stages, mixed_radix
from lightning_contrast.objectives import MCL
from tests.callbacks.kit import Losses, fit, simclr
from tests.objectives.plain import dot, lse, mean, units


def test_loops() -> None:
    z, cluster = torch.randn(2, 6, 3, dtype=torch.float64), [0, 1, 0, 1, 1, 2]
    u, rows = units(z), []
    for a in (0, 1):
        for i in range(6):
            same = [(b, j) for b in (0, 1) for j in range(6) if (b, j) != (a, i) and cluster[j] == cluster[i]]
            logit = {o: dot(u[a][i], u[o[0]][o[1]]) / 0.3 for o in same}
            rows.append(lse(list(logit.values())) - logit[(1 - a, i)])
    found = MCL(0.3)(Contrast.from_views(z, cluster=torch.tensor(cluster)))
    assert found.item() == pytest.approx(mean(rows), rel=1e-9)


def test_pseudo_labels_are_tuples_of_all_stages() -> None:
    stages = [torch.randint(3, (50,)), torch.randint(4, (50,)), torch.randint(2, (50,))]
    found = mixed_radix(stages, [3, 4, 2])
    tuples = list(zip(*(s.tolist() for s in stages), strict=True))
    assert found.tolist() == [(a * 4 + b) * 2 + c for a, b, c in tuples]
    assert len(set(found.tolist())) == len(set(tuples))
    with pytest.raises(ValueError, match="stage 1"):
        mixed_radix(stages[:2], [3, 2])
    with pytest.raises(ValueError, match="one each"):
        mixed_radix([], [])


def test_stages_are_joined_at_unit_length() -> None:
    joined = join_stages([torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0, 2.0]])])
    torch.testing.assert_close(joined, torch.tensor([[0.6, 0.8, 0.0, 0.0, 1.0]]))


def test_missing_pseudo_labels_are_told() -> None:
    c = Contrast.from_pairs(torch.eye(3), torch.eye(3))
    with pytest.raises(KeyError, match="cluster"):
        MCL()(c)
    c = Contrast.from_pairs(torch.eye(3), torch.eye(3), cluster=torch.zeros(3).long())
    with pytest.raises(KeyError, match="queue"):
        MCL()(c.append(Candidates(torch.eye(3), name="queue", where="replicated")))


def test_unknown_pseudo_labels_and_positives_stay() -> None:
    c = Contrast.from_pairs(
        torch.eye(4), torch.eye(4), cluster=(torch.tensor([0, 0, 1, -1]), torch.tensor([1, 0, 1, 0]))
    )
    exists = MCL().directions(c)[0].scores().exists
    assert exists.tolist() == [
        [True, True, False, True],
        [False, True, False, True],
        [True, False, True, False],
        [True] * 4,
    ]


def test_fed_by_a_prototype_memory() -> None:
    record = Losses()
    fit(simclr(MCL(0.2), dropout=0), [PrototypeMemory(3), record], steps=3)
    contrast = record.contrasts[-1]
    cluster, scores = contrast.anchors.payload["cluster"], contrast.scores()
    other = (cluster[:, None] != cluster) & (scores.target <= 0)
    assert other.any()
    assert not scores.exists[other].any()
