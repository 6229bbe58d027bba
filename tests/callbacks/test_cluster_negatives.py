"""ClusterNegatives: second nearest centroids as negatives, once embeddings have spread."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import ClusterNegatives
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.regularisers import ClusterBand, Regularised
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, moco, simclr


def both():
    return simclr(Regularised(InfoNCE(0.2), [ClusterBand(0.5)]), dropout=0)


def made(**kwargs):
    return ClusterNegatives(**{"prototypes": 6, "momentum": 0.5, "start_cosine": 1.0, **kwargs})


def test_the_second_nearest_centroid_of_each_anchor():
    record = Losses()
    fit(both(), [memory := made(), record], steps=3)
    assert len(record.contrasts[0].candidates) == 1, "no centroids yet"
    for contrast in record.contrasts[1:]:
        block = contrast.candidates[-1]
        assert (block.name, block.rows) == ("centroid", contrast.anchors.rows)
        assert not block.z.requires_grad
        assert (block.payload["index"] == -1).all()
        assert (contrast.anchors.payload["cluster"] >= 0).all()
    z = F.normalize(memory.z, dim=1)
    last = record.contrasts[-1]
    again = memory._second(last.replace(candidates=last.candidates[:1]))
    order = (last.anchors.z @ z.T).argsort(dim=1, descending=True)
    torch.testing.assert_close(F.normalize(again.z, dim=1), z[order[:, 1]])


def test_before_the_start_nothing_happens():
    with_it, plain = Losses(), Losses()
    fit(simclr(dropout=0), [memory := made(start_cosine=-1.0), with_it], steps=3)
    fit(simclr(dropout=0), [plain], steps=3)
    assert with_it.losses == plain.losses
    assert memory.z is None
    assert not memory.begun


def test_it_begins_when_embeddings_have_spread():
    record = Losses()
    fit(simclr(dropout=0), [memory := made(start_cosine=0.99), record], steps=2)
    z = record.contrasts[0].candidates[0].z
    cosine = ((z @ z.T).sum() - len(z)) / (len(z) * (len(z) - 1))
    assert memory.begun == (cosine.item() <= 0.99)
    assert memory.begun


def test_three_blobs_have_a_centroid_each():
    memory = ClusterNegatives(3, momentum=0.9, start_cosine=1.0).memory
    g = torch.Generator().manual_seed(0)
    for _ in range(20):
        z = F.normalize(torch.eye(3).repeat(10, 1) + 0.1 * torch.randn(30, 3, generator=g), dim=1)
        memory.move(z, memory.assign(z, "nearest"))
    torch.testing.assert_close(F.normalize(memory.z, dim=1) @ torch.eye(3), torch.eye(3), rtol=0, atol=0.1)


@pytest.mark.parametrize("build", [both, moco], ids=["views", "moco"])
def test_two_processes_and_resume(tmp_path, build):
    one, two = assert_two_processes_train_as_one(tmp_path, build, lambda: [made()], steps=4)
    torch.testing.assert_close(one[0]["z"], two[0]["z"], rtol=0, atol=1e-5)
    if build is both:
        assert_resumes_exactly(tmp_path, build, lambda: [made()])


def test_misuse():
    for wrong in ({"prototypes": 1}, {"start_cosine": 2.0}):
        with pytest.raises(ValueError, match="second nearest"):
            made(**wrong)
    memory = made()
    with pytest.raises(ValueError, match="begun"):
        memory.load_state_dict({})
