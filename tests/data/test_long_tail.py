"""Exponentially imbalanced training splits."""

import itertools

import pytest
import torch

from lightning_contrast.data import DigitsDataModule, FashionMNISTDataModule
from lightning_contrast.data.debian import DataNotFoundError
from lightning_contrast.data.long_tail import long_tailed, undersampled
from lightning_contrast.data.tensor_images import TensorImages


@pytest.mark.parametrize(("ratio", "sizes"), [(1, [100] * 5), (16, [100, 50, 25, 12, 6]), (100, [100, 32, 10, 3, 1])])
def test_sizes_fall_exponentially(ratio, sizes):
    labels = torch.arange(5).repeat_interleave(torch.tensor([100, 150, 110, 100, 300]))
    labels = labels[torch.randperm(len(labels))]
    kept = long_tailed(labels, ratio, seed=1)
    assert labels[kept].bincount().tolist() == sizes
    assert torch.equal(kept, kept.unique())
    assert torch.equal(kept, long_tailed(labels, ratio, seed=1))
    assert not torch.equal(kept, long_tailed(labels, ratio, seed=2))


def test_bad_ratios():
    labels = torch.arange(4).repeat(3)
    for ratio in (0.5, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="imbalance="):
            long_tailed(labels, ratio)
        with pytest.raises(ValueError, match="imbalance is the ratio"):
            DigitsDataModule(imbalance=ratio)
    with pytest.raises(ValueError, match="no sample of class 3"):
        long_tailed(labels, 100)
    assert len(long_tailed(labels, 5)) >= 4


def test_only_the_training_split_is_imbalanced():
    plain, data = DigitsDataModule(), DigitsDataModule(imbalance=20, score=True)
    for one in (plain, data):
        one.setup()
    sizes = data.train_set.labels.bincount()
    assert sizes[0] / sizes[9] == pytest.approx(20, rel=0.1)
    assert (sizes.diff() <= 0).all()
    for split in ("val_set", "test_set"):
        assert torch.equal(getattr(data, split).index, getattr(plain, split).index)
    assert set(data.train_set.index.tolist()) <= set(plain.train_set.index.tolist())
    batch = data.train_set.__getitems__([3, 5])
    assert torch.equal(batch["score"], batch["label"].float())
    assert "score" not in plain.train_set[0]
    with pytest.raises(ValueError, match=r"score must have one row an image, \[4"):
        TensorImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), score=torch.zeros(3))


def test_fashion_mnist():
    data = FashionMNISTDataModule(imbalance=100, fallback=False)
    try:
        data.setup()
    except DataNotFoundError as error:
        pytest.skip(str(error))
    sizes = data.train_set.labels.bincount().tolist()
    assert len(sizes) == 10
    assert sizes[0] / sizes[9] == pytest.approx(100, rel=0.02)
    steps = [a / b for a, b in itertools.pairwise(sizes)]
    assert steps == pytest.approx([100 ** (1 / 9)] * 9, rel=0.02)
    assert data.test_set.labels.bincount().tolist() == [1000] * 10
    assert len(data.val_set) == 5000
    assert not set(data.train_set.index.tolist()) & set(data.val_set.index.tolist())
    fewer = FashionMNISTDataModule(imbalance=100, subset=500)
    fewer.setup()
    assert set(fewer.train_set.index.tolist()) <= set(data.train_set.index.tolist())


def test_one_class():
    data = DigitsDataModule(classes=[3, 7])
    data.setup()
    assert set(data.train_set.labels.tolist()) == {3, 7}
    assert set(data.test_set.labels.tolist()) == set(range(10))
    for classes in ([], [3, 12]):
        with pytest.raises(ValueError, match=r"classes=\["):
            DigitsDataModule(classes=classes).setup()


def test_rare_classes():
    labels = torch.arange(4).repeat(200)
    kept = undersampled(labels, {1: 0.01, 3: 0.5})
    assert labels[kept].bincount().tolist() == [200, 2, 200, 100]
    assert torch.equal(kept, kept.unique())
    plain, data = DigitsDataModule(), DigitsDataModule(rare={6: 0.01})
    for one in (plain, data):
        one.setup()
    sizes, before = (one.train_set.labels.bincount() for one in (data, plain))
    assert sizes[6] == 1
    assert torch.equal(sizes[torch.arange(10) != 6], before[torch.arange(10) != 6])
    assert torch.equal(data.test_set.index, plain.test_set.index)
    for rare in ({1: 0.0}, {1: 1.5}):
        with pytest.raises(ValueError, match="rare="):
            DigitsDataModule(rare=rare)
    with pytest.raises(ValueError, match="no training image of class 12"):
        DigitsDataModule(rare={12: 0.5}).setup()
