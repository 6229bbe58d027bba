"""Whitening in groups, and wholes beside their parts (whitenedcse, compcse)."""

import pytest
import torch

from lightning_contrast.functional.inverse_root import inverse_root
from lightning_contrast.transforms import Composition, GroupWhitening
from tests.ranks import run_ranks

Z = torch.randn(3, 12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def covariance(z):
    c = z - z.mean(0)
    return c.mT @ c / len(z)


class TestInverseRoot:
    def test_value_and_gradient(self):
        a = covariance(Z[0])
        root = inverse_root(a)
        torch.testing.assert_close(root @ a @ root, torch.eye(6, dtype=torch.float64))
        assert torch.autograd.gradcheck(lambda x: inverse_root(covariance(x)), Z[0].clone().requires_grad_())

    def test_equal_eigenvalues_have_a_gradient(self):
        a = torch.eye(4, dtype=torch.float64).requires_grad_()
        inverse_root(a).sum().backward()
        torch.testing.assert_close(a.grad, torch.full((4, 4), -0.5, dtype=torch.float64))

    def test_refused(self):
        with pytest.raises(ValueError, match="smallest eigenvalue"):
            inverse_root(torch.diag(torch.tensor([1.0, 0.0])))


class TestGroupWhitening:
    def test_one_group_is_whitening(self):
        for view in GroupWhitening(1, shuffle=False, eps=1e-12)(Z):
            torch.testing.assert_close(covariance(view), torch.eye(6, dtype=torch.float64))
            torch.testing.assert_close(view.mean(0), torch.zeros(6, dtype=torch.float64))

    def test_as_many_groups_as_channels_is_standardisation(self):
        found = GroupWhitening(6, shuffle=False, eps=1e-12)(Z)
        torch.testing.assert_close(found, (Z - Z.mean(1, keepdim=True)) / Z.std(1, correction=0, keepdim=True))

    def test_permuting_commutes_and_groups_are_white(self):
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        one = GroupWhitening(1, shuffle=False)
        torch.testing.assert_close(one(Z)[..., order], one(Z[..., order]))
        torch.testing.assert_close(GroupWhitening(1, shuffle=True)(Z), one(Z))  # one group: any order is the same
        two = GroupWhitening(2, shuffle=False, eps=1e-12)(Z)[0]
        torch.testing.assert_close(covariance(two[:, 3:]), torch.eye(3, dtype=torch.float64))

    def test_views_and_steps_have_groups_of_their_own(self):
        same = Z[:1].expand(3, -1, -1)
        transform = GroupWhitening(2)
        first, second = transform(same), transform(same)
        assert not torch.allclose(first[0], first[1])
        assert not torch.allclose(first, second)
        again = GroupWhitening(2)
        again.load_state_dict({"step": torch.tensor(1)})
        torch.testing.assert_close(again(same), second)
        still = transform.eval()
        torch.testing.assert_close(still(same), still(same))

    def test_gradcheck(self):
        def f(z):
            return GroupWhitening(2)(z)

        assert torch.autograd.gradcheck(f, Z[:2, :8].clone().requires_grad_())

    def test_refused(self):
        with pytest.raises(ValueError, match="groups=0"):
            GroupWhitening(0)
        with pytest.raises(ValueError, match="divisor"):
            GroupWhitening(4)(Z)
        with pytest.raises(ValueError, match="more groups"):
            GroupWhitening(1)(Z[:, :6])


def of_rank(rank, world):
    z = Z[:, [slice(0, 5), slice(5, 12)][rank]].clone().requires_grad_()
    out = GroupWhitening(2)(z)
    (out * torch.arange(6)).pow(2).sum().backward()
    return out.detach(), z.grad


def test_two_processes_have_the_statistics_of_one():
    z = Z.clone().requires_grad_()
    out = GroupWhitening(2)(z)
    (out * torch.arange(6)).pow(2).sum().backward()
    found = run_ranks(2, of_rank)
    torch.testing.assert_close(torch.cat([f[0] for f in found], 1), out.detach())
    torch.testing.assert_close(torch.cat([f[1] for f in found], 1), z.grad)


class TestComposition:
    def test_parts_that_are_the_whole(self):
        found = Composition("mean")(Z[:1].expand(3, -1, -1))
        torch.testing.assert_close(found[0], found[1])

    def test_by_hand(self):
        whole, left, right = Z
        torch.testing.assert_close(Composition()(Z), torch.stack([whole, (left + right) / 2]))
        torch.testing.assert_close(Composition("max")(Z)[1], torch.maximum(left, right))
        torch.testing.assert_close(Composition("cat")(Z)[1], torch.cat([left[:, :3], right[:, 3:]], 1))

    @pytest.mark.parametrize("how", ["mean", "max", "cat"])
    def test_gradcheck(self, how):
        assert torch.autograd.gradcheck(Composition(how), Z.clone().requires_grad_())

    def test_a_side_of_pairs_stays(self):
        assert torch.equal(Composition()(Z[:1]), Z[:1])

    def test_refused(self):
        with pytest.raises(ValueError, match="how='sum'"):
            Composition("sum")
        with pytest.raises(ValueError, match="no multiple"):
            Composition("cat")(torch.zeros(5, 2, 6))
