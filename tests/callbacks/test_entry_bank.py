"""EntryBank: definitions point at entries of a bank that is fixed for a round (defsent-plus)."""

import pytest
import torch

from lightning_contrast.callbacks import EntryBank
from lightning_contrast.contrast import Contrast, Dot
from lightning_contrast.functional.isotropy import isotropic
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr

Z = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)) @ torch.randn(
    4, 4, generator=torch.Generator().manual_seed(1)
)


@pytest.mark.parametrize("how", ["whiten", "ica"])
def test_the_covariance_is_the_identity(how):
    found = isotropic(3 + Z, how)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.T @ found / 60, torch.eye(4), rtol=0, atol=1e-4)
    assert torch.equal(found, isotropic(3 + Z, how))


def test_standardised():
    torch.testing.assert_close(isotropic(Z, "standardise"), (Z - Z.mean(0)) / Z.std(0, correction=0))
    assert torch.equal(isotropic(Z, "none"), Z)
    with pytest.raises(ValueError, match="more rows"):
        isotropic(Z[:4], "ica")


def build():
    return simclr(InfoNCE(1.0, Dot()), dropout=0)


def bank(**kwargs):
    return EntryBank(**{"key": "label", "isotropy": "none", **kwargs})


def test_the_mean_of_each_entrys_samples_for_a_round():
    before, module, record = build(), build(), Losses()
    fit(module, [held := bank(), record], steps=4)  # an epoch
    for contrast in record.contrasts:
        (block,) = contrast.candidates
        assert torch.equal(block.z, held.z)
        assert torch.equal(block.payload["label"], torch.arange(10))
    assert held.z.shape == (10, 16)
    assert not torch.equal(before.encoder[0].weight, module.encoder[0].weight)
    loss = record.contrasts[0]
    logit = loss.anchors.z @ held.z.T
    expected = torch.nn.functional.cross_entropy(logit, loss.anchors.payload["label"])
    assert record.losses[0] == pytest.approx(expected.item(), abs=1e-5)


def test_a_new_round_has_a_new_bank():
    record = Losses()
    fit(build(), [held := bank(every_n_steps=2), record], steps=4, log_every_n_steps=1)
    a, b, c, d = (contrast.candidates[0].z for contrast in record.contrasts)
    assert torch.equal(a, b)
    assert torch.equal(c, d)
    assert not torch.equal(b, c)
    assert 0 < held._churn < 1


def test_the_entries_of_the_batch_alone_are_infonce_with_frozen_keys():
    q, e = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4)
    held = bank()
    held.ids, held.z = torch.arange(5), e
    contrast = Contrast.from_pairs(q, q, label=torch.arange(5))
    found = InfoNCE(1.0, Dot())(held.on_contrast(type("T", (), {"training": True}), None, contrast))
    expected = InfoNCE(1.0, Dot())(Contrast.from_pairs(q, e))
    torch.testing.assert_close(found, expected)


def test_two_processes_and_resume(tmp_path):
    one, two = assert_two_processes_train_as_one(tmp_path, build, lambda: [bank(every_n_steps=2)], steps=3)
    torch.testing.assert_close(one[0]["z"], two[0]["z"], rtol=0, atol=1e-5)
    assert_resumes_exactly(tmp_path, build, lambda: [bank(every_n_steps=2)])


def test_misuse():
    with pytest.raises(ValueError, match="isotropy='pca'"):
        bank(isotropy="pca")
    with pytest.raises(ValueError, match="no such payload"):
        fit(build(), [EntryBank(key="entry")], steps=1)
    with pytest.raises(ValueError, match="truncated"):
        bank().load_state_dict({"last": 0, "ids": torch.arange(3), "z": torch.zeros(2, 2), "mean": None, "churn": None})
