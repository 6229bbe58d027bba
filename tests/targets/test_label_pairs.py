"""Targets by what labels have in common (dialog2flow, space-2)."""

import math

import numpy as np
import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import ICon
from lightning_contrast.targets import LabelPairs, LabelSimilarity, TreeOverlap

HALF = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5]])


def rows(target, label):
    z = torch.eye(len(label))
    c = Contrast.from_pairs(z, z, label=torch.tensor(label)).retarget(target)
    return c.scores().target


@pytest.mark.parametrize(("tau", "expected"), [(0.35, [0.8067, 0.1933]), (0.25, [0.8808, 0.1192])])
def test_worked_numbers(tau, expected):
    found = rows(LabelSimilarity(vectors=HALF, temperature=tau), [0, 1])
    torch.testing.assert_close((found / found.sum(1, keepdim=True))[0], torch.tensor(expected), rtol=0, atol=1e-4)


def test_beside_a_loop():
    label = [0, 2, 1, 0, 2]
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = rows(LabelSimilarity(vectors=vectors), label)
    for i, a in enumerate(label):
        weights = [math.exp(float(torch.cosine_similarity(vectors[a], vectors[b], dim=0)) / 0.35) for b in label]
        expected = [w / math.fsum(weights) for w in weights]
        assert (found[i] / found[i].sum()).tolist() == pytest.approx(expected, rel=1e-5)


def test_limits():
    block = rows(LabelSimilarity(vectors=torch.eye(2), temperature=1e-3), [0, 1, 0])
    assert block.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert rows(LabelSimilarity(vectors=HALF, temperature=1e6), [0, 1]).tolist() == pytest.approx(np.ones((2, 2)))


def test_names_and_files(tmp_path):
    found = LabelSimilarity(["request price", "request area", "goodbye"]).table
    assert found[0, 1] > 2 * found[0, 2]
    assert torch.equal(found, found.mT)
    np.save(tmp_path / "labels.npy", HALF.numpy())
    assert torch.equal(LabelSimilarity(vectors=str(tmp_path / "labels.npy")).table, LabelSimilarity(vectors=HALF).table)


def test_trees():
    overlap = TreeOverlap([["a", "b"], ["b", "c"], ["d"], ["b", "a", "a"]])
    expected = [[1, 1 / 3, 0, 1], [1 / 3, 1, 0, 1 / 3], [0, 0, 1, 0], [1, 1 / 3, 0, 1]]
    torch.testing.assert_close(overlap.table, torch.tensor(expected))


def test_the_unlabelled_have_their_own_view_alone():
    found = rows(TreeOverlap([["a"], ["a", "b"]]), [0, -1, 1, -1])
    assert found.tolist() == [[1, 0, 0.5, 0], [0, 1, 0, 0], [0.5, 0, 1, 0], [0, 0, 0, 1]]


def test_in_an_objective():
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label = torch.tensor([0, 1, 1, -1])
    ICon(0.1, target=TreeOverlap([["a"], ["a", "b"]]))(Contrast.from_views(z, label=label)).backward()
    assert torch.isfinite(z.grad).all()
    assert (z.grad != 0).any()


def test_refused():
    with pytest.raises(ValueError, match="temperature=0"):
        LabelSimilarity(["a"], temperature=0)
    for given in ({}, {"names": "ab"}, {"names": ["a"], "vectors": HALF}):
        with pytest.raises(ValueError, match="either"):
            LabelSimilarity(**given)
    with pytest.raises(ValueError, match="none of them empty"):
        LabelSimilarity(["a", " "])
    for paths in ([], [["a"], []], ["ab"]):
        with pytest.raises(ValueError, match="every label"):
            TreeOverlap(paths)
    with pytest.raises(ValueError, match="knows 2 labels"):
        rows(LabelPairs(torch.eye(2)), [0, 2])
