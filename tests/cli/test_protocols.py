"""Protocols of studies beside kNN and search: unseen classes, numbers, a trained classifier; and who learns labels."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import BM25Negatives, FalseNegativeFilter, HardNegativeRefresh, TrainTeacher
from lightning_contrast.cli.evidence import by_classifier, by_number, by_unseen
from lightning_contrast.cli.evidence.clock import Clock
from lightning_contrast.cli.evidence.run import learns_labels, steps_before
from lightning_contrast.cli.protocol import embedder
from lightning_contrast.data.places import PlacesDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.objectives import InfoNCE


def test_search_among_unseen_classes_by_hand():
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.6, 0.5], [5.0, 5.0]])
    label = torch.tensor([3, 3, 4, 4, 0])
    z, label = by_unseen.unseen((z, label), torch.tensor([0, 0, 1]))
    assert label.tolist() == [3, 3, 4, 4]
    # Nearest: 0 -> 1, 1 -> 0, 2 -> 3; row 3 is nearer to 1 (0.84) than to 2 (0.64). R is 1, so that MAP@R is R@1.
    assert by_unseen.search(z, label) == {"precision@1": 0.75, "map@r": 0.75}


def test_without_unseen_classes():
    with pytest.raises(ValueError, match="less than two classes are unseen"):
        by_unseen.unseen((torch.zeros(3, 2), torch.tensor([0, 1, 2])), torch.tensor([0, 1]))


def test_few_shots_are_nearest_class_means():
    generator = torch.Generator().manual_seed(0)
    bank, z = (torch.randn(40, 6, generator=generator) for _ in range(2))
    label = torch.arange(40) % 2 * 4 + 3  # classes 3 and 7
    bank[label == 3, 0] += 2
    z[label == 3, 0] += 2
    found = by_unseen.few_shots(bank, label, z, label, seed=0)
    assert 0.5 < found["one_label"] < found["five_labels"] < 1, "more labels, less chance"
    far = 100 * nn.functional.one_hot(label, 8).float()
    assert by_unseen.few_shots(bank[:, :1] * 0 + far, label, far, label, 0) == {"one_label": 1.0, "five_labels": 1.0}


def test_a_number_is_read_by_linear_regression():
    generator = torch.Generator().manual_seed(0)
    x, query = torch.randn(400, 5, generator=generator), torch.randn(50, 5, generator=generator)
    number = (2 * x[:, 0] - x[:, 1]).round().clamp(-3, 3) / 2
    found = by_number.regression(x, number, query)
    # With 400 rows and 5 features the ridge is next to nothing: least squares.
    design = torch.cat([x, torch.ones(400, 1)], 1).double()
    solution = torch.linalg.lstsq(design, number.double()[:, None]).solution
    expected = (torch.cat([query, torch.ones(50, 1)], 1).double() @ solution)[:, 0]
    assert (found - expected).abs().max() < 0.05
    assert found.std() > 0.5


def test_errors_on_frequent_and_rare_numbers():
    number = torch.tensor([0.0] * 8 + [1.0] * 4 + [2.0] * 2)
    z = torch.stack([number, number.square()], 1) + 0.01 * torch.randn(
        14, 2, generator=torch.Generator().manual_seed(0)
    )
    found = by_number.figures((z, number), (z, number))
    assert found["rank_correlation"] > 0.8
    parts = [found["error_many"], found["error_medium"], found["error_few"]]
    assert found["error"] == pytest.approx(sum(n * part for n, part in zip((8, 4, 2), parts, strict=True)) / 14)


def test_a_classifier_where_the_bias_agrees_and_where_not():
    logit = nn.functional.one_hot(torch.tensor([0, 1, 1, 2]), 3).float()
    batch = {"input": logit, "label": torch.tensor([0, 1, 2, 2]), "bias": torch.tensor([0, 1, 1, 0])}
    found = by_classifier.figures(nn.Identity(), [batch])
    assert found == {"classifier": 0.75, "agreeing": 1.0, "contradicting": 0.5}
    with pytest.raises(ValueError, match="objective Classification"):
        by_classifier.embedder(SimpleNamespace(objective=nn.Identity(), head=None))


@pytest.mark.parametrize(
    ("objective", "callback", "data", "learns"),
    [((), None, object, False), (("index",), None, object, False), (("index", "label"), None, object, True),
     ((), TrainTeacher, object, True), ((), None, PlacesDataModule, True),
     ((), FalseNegativeFilter(max_score=0.9), object, False), ((), FalseNegativeFilter(same_label=True), object, True),
     ((), FalseNegativeFilter(same=["label"]), object, True), ((), HardNegativeRefresh(), object, False),
     ((), HardNegativeRefresh(same_label=True), object, True), ((), HardNegativeRefresh(same_key="label"), object, True),
     ((), BM25Negatives(same_label=True), object, True)],
)  # fmt: skip
def test_labels_count_wherever_they_come_in(objective, callback, data, learns):
    cli = SimpleNamespace(
        model=SimpleNamespace(objective=SimpleNamespace(requires=objective)),
        trainer=SimpleNamespace(callbacks=[] if callback is None else [callback]),
        datamodule=data,
    )
    assert learns_labels(cli) is learns


def test_a_teachers_steps_are_of_the_budget():
    of = lambda *callbacks: SimpleNamespace(trainer=SimpleNamespace(callbacks=callbacks))  # noqa: E731
    assert steps_before(of(TrainTeacher(steps=7), HardNegativeRefresh())) == 7
    assert steps_before(of()) == 0
    clock = Clock(3)
    clock._began, clock.marks = 10.0, [14.5, 15.0]
    assert clock.before(0.5) == 4.0


def test_inputs_of_an_embedder_may_be_mappings():
    module = ContrastiveModule(BagOfWords(10, 4), InfoNCE())
    tokens = {"input_ids": torch.tensor([[3, 7]]), "attention_mask": torch.tensor([[1, 1]])}
    assert torch.equal(embedder(module)(tokens), module.embed(torch.tensor([[3, 7]])))
