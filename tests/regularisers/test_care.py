"""Gupta et al. 2024."""

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.regularisers import CARE
from tests.objectives.plain import dot, mean, units


def test_worked_number() -> None:
    z = torch.stack([torch.eye(2), torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]])])
    assert CARE(1.0)(Contrast.from_views(z)).item() == pytest.approx(0.5)
    assert CARE(0.03)(Contrast.from_pairs(z[0], z[1])).item() == pytest.approx(0.015)


@pytest.mark.parametrize("chunk", [[0, 0, 0, 0, 0, 0], [7, 3, 7, 3, 3, 7], [1, 1, 2, 2, 2, 5]])
def test_loops(chunk: list[int]) -> None:
    z = torch.randn(2, 6, 3, dtype=torch.float64)
    u, chunks = units(z), []
    for c in sorted(set(chunk)):
        members = [i for i in range(6) if chunk[i] == c]
        rows = [sum((dot(u[0][i], u[0][j]) - dot(u[1][i], u[1][j])) ** 2 for j in members if j != i) for i in members]
        chunks.append(2 * mean(rows))
    found = CARE(1.0)(Contrast.from_views(z, chunk=torch.tensor(chunk)))
    assert found.item() == pytest.approx(mean(chunks), rel=1e-9)


def test_rotations_and_equal_augmentations_cost_nothing() -> None:
    z = torch.randn(6, 4, dtype=torch.float64)
    r = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    for other in (z @ r, z):
        assert CARE()(Contrast.from_pairs(z, other)).item() == pytest.approx(0.0, abs=1e-20)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="weight=-1"):
        CARE(-1.0)
    with pytest.raises(ValueError, match="two views"):
        CARE()(Contrast.from_views(torch.randn(3, 4, 5)))


def test_views_and_chunks_by_argument() -> None:
    """The third and fourth of four views, in chunks of three consecutive samples."""
    z = torch.randn(4, 6, 3, dtype=torch.float64)
    found = CARE(views=(2, 3), chunk=3)(Contrast.from_views(z))
    expected = CARE()(Contrast.from_views(z[2:], chunk=torch.tensor([0, 0, 0, 1, 1, 1])))
    assert found.item() == pytest.approx(expected.item())
    with pytest.raises(ValueError, match=r"views=\(0, 5\)"):
        CARE(views=(0, 5))(Contrast.from_views(z))
    with pytest.raises(ValueError, match="views"):
        CARE(views=(1, 1))
    with pytest.raises(ValueError, match="chunk=1"):
        CARE(chunk=1)
