"""The band of a cluster, beside a loop and by hand (cluster-ns)."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.regularisers import ClusterBand
from tests.ranks import run_ranks

Z = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CLUSTER = torch.tensor([0, 0, 1, 0, 1, -1])


@pytest.mark.parametrize(("gap", "expected"), [(-0.1, 0.1), (-0.3, 0.0), (-0.6, 0.1)])
def test_worked_numbers(gap, expected):
    """Anchor and its view are one vector, the other of the cluster is at cosine 1 + gap: two pairs over N^2."""
    s = 1 + gap
    z = torch.tensor([[1.0, 0.0], [s, (1 - s * s) ** 0.5]])
    c = Contrast.from_pairs(z, z, cluster=torch.zeros(2, dtype=torch.int64))
    assert ClusterBand(1.0)(c).item() == pytest.approx(2 * expected / 4, abs=1e-6)


def band_of(one, two):
    one, two = F.normalize(one, dim=1), F.normalize(two, dim=1)
    total = 0.0
    for i in range(6):
        for j in range(6):
            if i != j and CLUSTER[i] == CLUSTER[j] >= 0:
                gap = float(one[i] @ two[j] - one[i] @ two[i])
                total += max(0.0, gap + 0.2) + max(0.0, -gap - 0.5)
    return total / 36


def test_beside_a_loop():
    pairs = Contrast.from_pairs(Z[0], Z[1], cluster=CLUSTER)
    assert ClusterBand(2.0)(pairs).item() == pytest.approx(2 * band_of(*Z))
    views = Contrast.from_views(Z, cluster=CLUSTER)
    assert ClusterBand(1.0)(views).item() == pytest.approx((band_of(*Z) + band_of(Z[1], Z[0])) / 2)


def test_gradcheck_and_nobody():
    def f(z):
        return ClusterBand(1.0)(Contrast.from_views(z, cluster=CLUSTER))

    assert torch.autograd.gradcheck(f, Z.clone().requires_grad_())
    alone = torch.full((6,), -1)
    assert ClusterBand(1.0)(Contrast.from_views(Z, cluster=alone)).item() == 0


def of_rank(rank, world):
    rows = [slice(0, 2), slice(2, 6)][rank]
    z = Z[:, rows].clone().requires_grad_()
    loss = ClusterBand(1.0)(Contrast.from_views(z, cluster=CLUSTER[rows]))
    (loss / world).backward()
    return loss.detach(), z.grad


def test_two_processes():
    z = Z.clone().requires_grad_()
    whole = ClusterBand(1.0)(Contrast.from_views(z, cluster=CLUSTER))
    whole.backward()
    found = run_ranks(2, of_rank)
    torch.testing.assert_close(torch.stack([f[0] for f in found]).mean(), whole.detach())
    torch.testing.assert_close(torch.cat([f[1] for f in found], 1), z.grad)


def test_refused():
    with pytest.raises(ValueError, match=r"inner=0\.5"):
        ClusterBand(inner=0.5)
    with pytest.raises(KeyError, match="cluster"):
        ClusterBand()(Contrast.from_views(Z))
