"""Linear probe that is trained: multinomial logistic regression to its optimum."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_contrast.functional.knn import check_labels
from lightning_contrast.functional.nearest import check_embeddings

TOLERANCE = 1e-6  # of the gradient of the mean loss; the optimum is unique


def logistic_probe(
    train_z: Tensor, train_labels: Tensor, test_z: Tensor, *, penalty: float = 1.0, iterations: int = 300
) -> Tensor:
    r"""Classes of ``test_z`` by logistic regression on the training rows, standardised by them.

    Minimises :math:`\frac{1}{N} \sum_i \text{CE}(W^\top x_i + b, y_i) + \frac{\lambda}{2N} \|W\|^2` from zero by L-BFGS
    in float64: no learning rate, no random number. The same as scikit-learn's ``LogisticRegression(C=1 / penalty)``; as there,
    two classes have one vector, the difference of ours, whose square is the penalty.

    Args:
        train_z: [N, D].
        train_labels: integers [N].
        test_z: [T, D].
        penalty: lambda > 0.
        iterations: at most, at least 1.

    Returns:
        int64 [T]; only classes that occur in training.

    Raises:
        ValueError: wrong shapes or labels, values out of range, numbers that are not finite.

    Example:
        >>> z, labels = torch.tensor([[0.0], [0.1], [1.0], [1.1]]), torch.tensor([3, 3, 5, 5])
        >>> logistic_probe(z, labels, torch.tensor([[0.2], [0.9]]))
        tensor([3, 5])

    """
    check_embeddings("train_z", train_z)
    check_embeddings("test_z", test_z, width=train_z.shape[1])
    check_labels("train_labels", train_labels, len(train_z))
    if not len(train_z):
        raise ValueError("train_z has no rows; the probe needs at least one labelled embedding.")
    if not penalty > 0 or iterations < 1:
        raise ValueError(f"penalty={penalty}, iterations={iterations}: penalty must be above 0, iterations at least 1.")
    for name, z in (("train_z", train_z), ("test_z", test_z)):
        if not bool(z.isfinite().all()):
            raise ValueError(f"{name} holds {int((~z.isfinite()).any(1).sum())} rows with numbers that are not finite.")
    with torch.inference_mode(False), torch.enable_grad():
        x, (classes, y) = train_z.detach().double().clone(), train_labels.clone().unique(return_inverse=True)
        mean, std = x.mean(0), x.std(0, correction=0).clamp(min=1e-12)
        weight, bias = _fit((x - mean) / std, y, len(classes), penalty, iterations)
    return classes[((test_z.double() - mean) / std @ weight + bias).argmax(1)]


def _fit(x: Tensor, y: Tensor, classes: int, penalty: float, iterations: int) -> tuple[Tensor, Tensor]:
    weight = x.new_zeros(x.shape[1], classes, requires_grad=True)
    bias = x.new_zeros(classes, requires_grad=True)
    penalty *= 2 if classes == 2 else 1  # at the optimum w_1 = -w_0, so |w_1 - w_0|^2 is twice their squares
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        tolerance_grad=TOLERANCE,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight + bias, y) + penalty / (2 * len(x)) * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()
