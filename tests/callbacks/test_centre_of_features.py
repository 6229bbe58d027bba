"""CentreOfFeatures: the mean of the unit embeddings before the first step."""

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.callbacks import CentreOfFeatures
from lightning_contrast.objectives import MSC, InfoNCE
from tests.callbacks.kit import SaveAt, assert_resumes_exactly, assert_two_processes_train_as_one, fit, simclr
from tests.modules.test_contrastive import Digits, loader


def msc(**kwargs):
    return simclr(MSC(temperature=0.3, angular=0.5), **kwargs)


def test_the_centre_is_that_of_the_untrained_embeddings(tmp_path):
    module = msc()
    with torch.no_grad():
        x = torch.stack([Digits(128, ("views",))[i]["views"][0] for i in range(128)])
        expected = F.normalize(F.normalize(module.eval()(x), dim=1).mean(0), dim=0)
    path = tmp_path / "a.ckpt"
    fit(module.train(), [CentreOfFeatures(), SaveAt(2, path)], steps=5, val=loader(32), num_sanity_val_steps=1)
    torch.testing.assert_close(module.objective.similarity.centre, expected)
    again = msc()
    again.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    torch.testing.assert_close(again.objective.similarity.centre, expected)
    fit(again, [CentreOfFeatures()], steps=1)
    torch.testing.assert_close(again.objective.similarity.centre, expected)


def test_resume_and_processes(tmp_path):
    assert_resumes_exactly(tmp_path, msc, lambda: [CentreOfFeatures()])

    def build():  # forked children send home what fits the parent's module
        module = msc(dropout=0)
        module.objective = MSC(16, 0.3, 0.5)
        return module

    assert_two_processes_train_as_one(tmp_path, build, lambda: [CentreOfFeatures()], steps=3)


def test_told_at_set_up():
    with pytest.raises(ValueError, match=r"use objectives\.MSC"):
        fit(simclr(InfoNCE()), [CentreOfFeatures()])
