"""Places: the other visit, regions, and MoCo where there is only one visit."""

import pytest
import torch

from lightning_contrast.data import PlacesDataModule, Visits
from lightning_contrast.data.samplers import BatchKeys
from tests.data.test_sources import write_small


def visits(n=12):
    images = torch.arange(n).to(torch.uint8).reshape(n, 1, 1, 1).expand(n, 1, 2, 2).clone()
    place = torch.tensor([0, 1, 0, 2, 1, 0, 3, 1, 0, 1, 0, 2])[:n]
    return Visits(images, None, torch.arange(n) + 100, place, seed=3), place


def test_the_other_is_another_picture_of_the_place():
    data, place = visits()
    at = torch.arange(12)
    seen = {i: set() for i in range(12)}
    for epoch in range(60):
        other = data.other(at, epoch)
        assert torch.equal(place[other], place)
        for i, j in enumerate(other.tolist()):
            seen[i].add(j)
    for i in range(12):
        mates = {j for j in range(12) if place[j] == place[i] and j != i}
        assert seen[i] == (mates or {i}), "every mate, never itself unless alone"
    assert torch.equal(data.other(at[3:], 7), data.other(at, 7)[3:])


def test_batches_of_training_have_the_other():
    data, place = visits()
    batch = data.__getitems__(BatchKeys([4, 6], epoch=2))
    assert torch.equal(place[batch["other"][:, 0, 0, 0].long()], place[[4, 6]])
    assert batch["other"][1, 0, 0, 0] == 6
    assert "other" not in data.__getitems__([4, 6])


def test_views_of_a_datamodule(tmp_path):
    data = PlacesDataModule(visits=3, regions=5, root=str(write_small(tmp_path)), val_size=10, batch_size=8)
    data.setup()
    place, label = data.train_set.payload["place"], data.train_set.labels
    sizes = place.bincount()
    assert sizes.max() == 3
    assert all(len(label[place == p].unique()) == 1 for p in range(len(sizes))), "one class a place"
    for part in (data.train_set, data.val_set, data.test_set):
        assert 0 <= part.payload["region"].min() <= part.payload["region"].max() < 5
    batch = data.train_set.__getitems__(BatchKeys(range(8), epoch=1))
    made = data.make_views(batch, epoch=1)
    assert set(made) == {"views", "index", "label", "region"}
    plain = {key: value for key, value in batch.items() if key != "other"}
    alone, there = data.make_views(plain, 1)["views"], data.make_views({**plain, "input": batch["other"]}, 1)["views"]
    assert torch.equal(made["views"][0], alone[0])
    assert torch.equal(made["views"][1], there[1])
    assert not torch.equal(made["views"][1], alone[1])
    once = PlacesDataModule(visits=1, regions=5, root=str(tmp_path), val_size=10)
    once.setup()
    batch = once.train_set.__getitems__(BatchKeys(range(8), epoch=1))
    assert torch.equal(batch["other"], batch["input"]), "a single visit: MoCo's pairs"


def test_bad_values():
    with pytest.raises(ValueError, match="visits=0"):
        PlacesDataModule(visits=0)
    with pytest.raises(ValueError, match="regions=1"):
        PlacesDataModule(regions=1)
    with pytest.raises(ValueError, match="n_views=3"):
        PlacesDataModule(n_views=3)
