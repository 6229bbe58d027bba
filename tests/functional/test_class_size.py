"""Accuracy by class size."""

import pytest
import torch

from lightning_contrast.functional.evaluation import accuracy_by_class_size


def test_ten_classes_are_four_three_and_three():
    # Class 9 is the most frequent, class 0 the rarest.
    train = torch.arange(10).repeat_interleave(torch.arange(1, 11))
    test = torch.arange(10).repeat_interleave(torch.tensor([20, 10, 10, 10, 10, 10, 10, 10, 10, 10]))
    predicted = test.clone()
    predicted[test == 9] = 0  # wrong: a quarter of the frequent
    predicted[(test == 0).nonzero()[:5, 0]] = 9  # a quarter of the rarest class, although it has twice the rows
    found = accuracy_by_class_size(train, predicted, test)
    assert found == pytest.approx({"many": 3 / 4, "medium": 1, "few": (0.75 + 1 + 1) / 3})


def test_equal_sizes_go_by_number_and_unknown_classes_do_not_count():
    labels = torch.arange(3).repeat(4)
    predicted = labels.where(labels != 2, 0)
    assert accuracy_by_class_size(labels, predicted, labels) == {"many": 1, "medium": 1, "few": 0}
    beside = torch.cat([labels, torch.tensor([7])])
    assert accuracy_by_class_size(labels, torch.cat([predicted, torch.tensor([0])]), beside)["few"] == 0


def test_too_few_classes():
    with pytest.raises(ValueError, match="2 classes"):
        accuracy_by_class_size(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0, 1]))
