"""The one protocol by which embeddings are compared everywhere in this library."""

import torch
from torch import Tensor

from lightning_contrast.functional.few_label import few_label_accuracy
from lightning_contrast.functional.knn import check_labels, knn_predict
from lightning_contrast.functional.ridge import ridge_probe


def evaluate_embeddings(
    train_z: Tensor, train_labels: Tensor, test_z: Tensor, test_labels: Tensor, *, k: int = 20, seed: int = 0
) -> dict[str, float]:
    """Evaluate frozen embeddings: kNN, linear probe, and ten labels a class.

    ``knn``: k neighbours in the training split by cosine, weights exp(s / 0.07). ``linear``: ridge probe on
    all training labels. ``few_label``: mean of ten fixed draws of ten labels a class (fewer where a class
    has fewer). Nothing is chosen on the test split.

    Args:
        train_z: [N, D], the bank.
        train_labels: integers [N].
        test_z: [T, D].
        test_labels: integers [T].
        k: neighbours.
        seed: first seed of the draws.

    Returns:
        ``{"knn": ..., "linear": ..., "few_label": ...}``, accuracies in [0, 1].

    Raises:
        ValueError: wrong shapes, labels or non-finite embeddings.

    Example:
        >>> import torch
        >>> z, labels = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 1])
        >>> evaluate_embeddings(z, labels, z, labels, k=1)
        {'knn': 1.0, 'linear': 1.0, 'few_label': 1.0}

    """
    check_labels("train_labels", train_labels, len(train_z))
    check_labels("test_labels", test_labels, len(test_z))
    shots = min(10, int(train_labels.unique(return_counts=True)[1].min()))
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    knn = knn_predict(test_z, train_z, train_labels, k=k, classes=classes)
    linear = ridge_probe(train_z, train_labels, test_z, classes)
    few = few_label_accuracy(train_z, train_labels, test_z, test_labels, shots=shots, seed=seed)
    return {
        "knn": float((knn == test_labels).double().mean()),
        "linear": float((linear == test_labels).double().mean()),
        "few_label": float(few.mean()),
    }


def accuracy_by_class_size(train_labels: Tensor, predicted: Tensor, test_labels: Tensor) -> dict[str, float]:
    """:func:`mean_by_class_size` of what is predicted rightly.

    Args:
        train_labels: integers [N].
        predicted: integers [T].
        test_labels: integers [T], of three classes at least that occur in training.

    Returns:
        ``{"many": ..., "medium": ..., "few": ...}``, in [0, 1].

    Raises:
        ValueError: wrong labels, or fewer than three classes.

    Example:
        >>> train, test = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 2])
        >>> accuracy_by_class_size(train, torch.tensor([0, 1, 1, 1]), test)
        {'many': 0.5, 'medium': 1.0, 'few': 0.0}

    """
    check_labels("test_labels", test_labels, len(predicted))
    return mean_by_class_size(train_labels, predicted == test_labels, test_labels)


def mean_by_class_size(train_labels: Tensor, values: Tensor, test_labels: Tensor) -> dict[str, float]:
    """Mean on the classes with many, with fewer, and with few training samples: thirds of the classes by size.

    Each is the mean over its classes, so that it does not depend on the test split's sizes. Where classes cannot be shared
    evenly, ``many`` has one more; equal sizes go by number.

    Args:
        train_labels: integers [N].
        values: [T], such as errors.
        test_labels: integers [T], of three classes at least that occur in training.

    Returns:
        ``{"many": ..., "medium": ..., "few": ...}``.

    Raises:
        ValueError: wrong labels, or fewer than three classes.

    Example:
        >>> train, test = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 2])
        >>> mean_by_class_size(train, torch.tensor([1.0, 2.0, 3.0, 4.0]), test)
        {'many': 1.5, 'medium': 3.0, 'few': 4.0}

    """
    check_labels("train_labels", train_labels, len(train_labels))
    check_labels("test_labels", test_labels, len(values))
    counts = torch.bincount(train_labels)
    classes = [c for c in test_labels.unique().tolist() if c < len(counts) and counts[c]]
    if len(classes) < 3:
        raise ValueError(f"test_labels have {len(classes)} classes that occur in training; three groups need three.")
    order = torch.tensor(sorted(classes, key=lambda c: (-int(counts[c]), c)))
    means = torch.stack([values[test_labels == c].double().mean() for c in order])
    groups = means.tensor_split(3)
    return {name: float(group.mean()) for name, group in zip(("many", "medium", "few"), groups, strict=True)}
