"""A linear regression, and what reads its predictions."""

import pytest
import torch

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import Regression
from lightning_contrast.regularisers import ConR, Regularised
from tests.callbacks.kit import assert_resumes_exactly, assert_two_processes_train_as_one, simclr


@pytest.mark.parametrize("kind", ["l1", "l2"])
@pytest.mark.parametrize("pairs", [False, True])
def test_value_and_gradient(kind: str, pairs: bool) -> None:
    torch.manual_seed(0)
    z = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, dtype=torch.float64)
    regression = Regression(kind).double()  # type: ignore[arg-type]
    loss = regression(Contrast.from_pairs(z[0], z[1], score=y) if pairs else Contrast.from_views(z, score=y))
    gap = (z @ regression.linear.weight[0] + regression.linear.bias - y)[: 1 if pairs else 2]
    expected = gap.abs().mean() if kind == "l1" else gap.square().mean()
    torch.testing.assert_close(loss, expected)
    parameters = [z, *regression.parameters()]
    for a, b in zip(*(torch.autograd.grad(x, parameters) for x in (loss, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_conr_reads_its_predictions() -> None:
    z, y = torch.randn(2, 6, 3, dtype=torch.float64), torch.arange(6.0, dtype=torch.float64)
    both = Regularised(Regression(), [ConR(weight=2.0, tolerance=0.5)]).double()
    assert both.requires == ("score",)
    found = both(Contrast.from_views(z, score=y))
    alone = both.objective(Contrast.from_views(z, score=y))
    (contrast,) = both.objective.directions(Contrast.from_views(z, score=y))
    torch.testing.assert_close(found, alone + both.regularisers[0](contrast))
    assert found > alone


def scored(**kwargs: object) -> object:
    """A score for every batch of labels."""
    module = simclr(Regularised(Regression(), [ConR(temperature=0.5)]), **kwargs)
    whole = module.contrast
    module.contrast = lambda batch: whole({**batch, "score": batch["label"].float()})
    module.objective.requires = ()
    module.objective.objective.linear = torch.nn.Linear(16, 1)
    return module


def test_resume_and_processes(tmp_path) -> None:
    assert_resumes_exactly(tmp_path, scored, list)
    assert_two_processes_train_as_one(tmp_path, lambda: scored(dropout=0), list, steps=4)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="kind='l3'"):
        Regression("l3")  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="score"):
        Regression()(Contrast.from_views(torch.randn(2, 3, 4)))
