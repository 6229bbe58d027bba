"""Random architectures, and what their untrained networks do to data: the data Jacobian."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,
}
WIDTHS = (8, 16, 32, 64)
DEEPEST = 4


class Architecture(NamedTuple):
    """A perceptron with one output."""

    widths: tuple[int, ...]  # of the hidden layers
    activation: str
    residual: bool  # whether layers of equal width are added to their input


def draw_architectures(count: int, seed: int = 0) -> list[Architecture]:
    """Draw ``count`` different architectures of one to four hidden layers.

    Raises:
        ValueError: for fewer than one, or more than 1,000 of the 2,720 that there are.

    Example:
        >>> len(set(draw_architectures(100)))
        100

    """
    if not 1 <= count <= 1000:
        raise ValueError(f"count={count}: give a number of architectures from 1 to 1000.")
    generator = torch.Generator().manual_seed(seed)

    def pick(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    found: dict[Architecture, None] = {}
    names = list(ACTIVATIONS)
    while len(found) < count:
        widths = tuple(WIDTHS[pick(len(WIDTHS))] for _ in range(1 + pick(DEEPEST)))
        found[Architecture(widths, names[pick(len(names))], bool(pick(2)))] = None
    return list(found)


def data_jacobian(architecture: Architecture, x: Tensor, seed: int) -> Tensor:
    """Gradient of an untrained network's output by its input, at each sample.

    Args:
        architecture: of the network; its weights are normal with variance 1 / inputs (2 / inputs before ReLU and GELU).
        x: [B, D] data.
        seed: of the weights; the global random state is left alone.

    Returns:
        [B, D].

    """
    generator = torch.Generator().manual_seed(seed)
    gain = 2.0 if architecture.activation in ("relu", "gelu") else 1.0
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        h = leaf
        for width in architecture.widths:
            weight = torch.randn(h.shape[1], width, generator=generator, dtype=x.dtype) * (gain / h.shape[1]) ** 0.5
            out = ACTIVATIONS[architecture.activation](h @ weight)
            h = out + h if architecture.residual and out.shape == h.shape else out
        head = torch.randn(h.shape[1], generator=generator, dtype=x.dtype) / h.shape[1] ** 0.5
        (jacobian,) = torch.autograd.grad((h @ head).sum(), leaf)  # samples do not meet: each row is its own
    return jacobian


def projected_jacobian(jacobian: Tensor) -> Tensor:
    """A data Jacobian as a vector that does not depend on how the network's units are turned.

    Cosines of every two samples' gradients (the upper triangle), logarithms of their lengths and of the singular values.
    The paper's own projection is not known: this one is a reconstruction.

    Args:
        jacobian: [B, D].

    Returns:
        [B (B - 1) / 2 + B + min(B, D)].

    """
    lengths = jacobian.norm(dim=1)
    unit = jacobian / lengths.clamp_min(1e-12)[:, None]
    upper = torch.ones(len(unit), len(unit), dtype=torch.bool).triu(1)
    sizes = torch.cat([lengths, torch.linalg.svdvals(jacobian)])
    return torch.cat([(unit @ unit.T)[upper], sizes.clamp_min(1e-6).log()])
