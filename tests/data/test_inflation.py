"""Generated images beside replicated real ones."""

import numpy as np
import pytest
import torch

from lightning_contrast.data import DigitsDataModule, InflatedImages, Inflation, TensorImages
from lightning_contrast.data.samplers import ShuffledBatchSampler

REAL = TensorImages(torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1), torch.arange(5), score=torch.ones(5))
MADE = torch.arange(100, 107, dtype=torch.uint8).view(7, 1, 1, 1)


def test_a_pass_has_copies_of_the_real_and_one_of_the_generated():
    data = InflatedImages(REAL, MADE, copies=3)
    batch = data.__getitems__(torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist())
    values = batch["input"].flatten().tolist()
    assert sorted(values) == sorted([*range(5)] * 3 + [*range(100, 107)])
    for value, index, label in zip(values, batch["index"].tolist(), batch["label"].tolist(), strict=True):
        assert (index, label) == ((value, value) if value < 5 else (value - 95, -1))
    assert batch["score"].sum() == 15
    assert data.real_share == 3 * 5 / (3 * 5 + 7)
    assert data[16]["input"].item() == 101
    whole = data.__getitems__(range(len(data)))
    assert torch.equal(data.index, whole["index"])
    assert torch.equal(data.labels, whole["label"])


def test_the_papers_share_within_binomial_error():
    """50,000 x 10 real and a million generated, a thousandth of each."""
    data = InflatedImages(
        TensorImages(torch.zeros(50, 1, 1, 1, dtype=torch.uint8)), torch.ones(1000, 1, 1, 1, dtype=torch.uint8), 10
    )
    assert data.real_share == 1 / 3
    sampler = ShuffledBatchSampler(data, 64, drop_last=True)
    share = 1 - torch.cat([data.__getitems__(keys)["input"].flatten() for keys in sampler]).double().mean().item()
    assert share == pytest.approx(1 / 3, abs=3 * (2 / 9 / 1472) ** 0.5)


def test_only_training_is_inflated():
    plain, data = DigitsDataModule(batch_size=64), DigitsDataModule(batch_size=64, inflation=Inflation(2, per_image=1))
    for one in (plain, data):
        one.setup()
    n = len(plain.train_set)
    assert len(data.training_images) == 3 * n
    assert len(data.train_dataloader()) == 3 * n // 64
    assert len(data.bank_dataloader().dataset) == n
    assert plain.training_images is plain.train_set
    noisy = data.training_images.generated.images.float()
    assert 0.05 < (noisy - plain.train_set.images).abs().mean() / 255 < 0.2
    again = Inflation(2, per_image=1)(data.train_set)
    assert torch.equal(again.generated.images, data.training_images.generated.images)
    with pytest.raises(TypeError, match="images in memory"):
        Inflation()(range(3))


def test_images_of_a_generative_model(tmp_path):
    path = tmp_path / "made.npy"
    np.save(path, MADE.numpy())
    assert torch.equal(Inflation(1, str(path))(REAL).generated.images, MADE)
    np.save(path, MADE.numpy()[:, 0])
    with pytest.raises(ValueError, match=r"generated must be uint8 \[G, 1, 1, 1\]"):
        Inflation(1, str(path))(REAL)
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        Inflation(1, str(tmp_path / "none.npy"))
    for kwargs in ({"copies": 0}, {"per_image": 0}, {"noise": 2.0}):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            Inflation(**kwargs)
