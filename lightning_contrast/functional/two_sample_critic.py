"""Can a network tell generated samples from real ones it has not seen? The advantage of a critic on held-out data."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_contrast.functional.nearest import check_embeddings

Kind = Literal["classifier", "wasserstein"]


def critic_divergence(
    real: Tensor,
    generated: Tensor,
    held_out: Tensor,
    fresh: Tensor,
    kind: Kind = "classifier",
    hidden: int = 128,
    steps: int = 200,
    penalty: float = 10.0,
    seed: int = 0,
) -> Tensor:
    r"""Train a critic on one half, report its advantage on the other.

    ``classifier``: :math:`\log 2` less the logistic loss, in nats. ``wasserstein``: :math:`E_{held\,out} D - E_{fresh}
    D`, trained with the penalty :math:`\lambda (\|\nabla D\| - 1)^2` on lines between both. Copies of the training data
    do well on the training data alone, which this does not look at. Gulrajani, Raffel and Metz, "Towards GAN Benchmarks
    Which Require Generalization" (ICLR 2019).

    Args:
        real: [N, D], real samples (or embeddings) to train on.
        generated: [M, D], generated ones to train on.
        held_out: [P, D], real ones to report on.
        fresh: [Q, D], generated ones to report on.
        kind: see above.
        hidden: width of the critic's two hidden layers.
        steps: of Adam, each on all training rows.
        penalty: lambda of the gradient penalty, at least 0.
        seed: of the critic's first weights and the lines; the global random state is left alone.

    Returns:
        0-d float64: about 0 when nothing tells them apart (below, when the critic overfits), at most log 2 for the
        classifier.

    Raises:
        ValueError: wrong shapes, empty parts, numbers out of range.

    """
    parts = {"real": real, "generated": generated, "held_out": held_out, "fresh": fresh}
    for name, z in parts.items():
        check_embeddings(name, z, width=real.shape[1])
        if not len(z):
            raise ValueError(f"{name} has no rows; the critic trains on one part and is judged on another.")
    check_critic(kind, hidden, steps, penalty)
    whole = torch.cat([real, generated]).double()
    mean, scale = whole.mean(0), whole.std(0, correction=0).clamp_min(1e-12)
    x, y, a, b = ((z.detach().double() - mean) / scale for z in parts.values())
    generator = torch.Generator().manual_seed(seed)
    critic = _critic(x.shape[1], hidden, generator).to(x.device)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3)
    with torch.inference_mode(False), torch.enable_grad():
        for _ in range(steps):
            if kind == "classifier":
                loss = _logistic_loss(critic(x), critic(y))
            else:
                gap = critic(y).mean() - critic(x).mean()
                loss = gap + penalty * _gradient_penalty(critic, x, y, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        if kind == "classifier":
            return math.log(2) - _logistic_loss(critic(a), critic(b))
        return critic(a).mean() - critic(b).mean()


def check_critic(kind: str, hidden: int, steps: int, penalty: float) -> None:
    """Check the numbers of a critic.

    Raises:
        ValueError: naming the one out of range.

    """
    if kind not in ("classifier", "wasserstein"):
        raise ValueError(f"kind={kind!r}: use 'classifier' or 'wasserstein'.")
    if hidden < 1 or steps < 1:
        raise ValueError(f"hidden and steps must be at least 1; got {hidden} and {steps}.")
    if penalty < 0:
        raise ValueError(f"penalty must be at least 0; got {penalty}.")


def _critic(width: int, hidden: int, generator: torch.Generator) -> nn.Sequential:
    """Two hidden layers, with weights drawn by the generator alone."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((width, hidden), (hidden, hidden), (hidden, 1)):
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64)
        with torch.inference_mode(False), torch.no_grad():
            weight = torch.rand(outputs, inputs, dtype=torch.float64, generator=generator)
            linear.weight.copy_((2 * weight - 1) / inputs**0.5)
            linear.bias.zero_()
        layers += [linear, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def _logistic_loss(real: Tensor, generated: Tensor) -> Tensor:
    """Of both halves alike, whatever their sizes."""
    softplus = nn.functional.softplus
    return (softplus(-real).mean() + softplus(generated).mean()) / 2


def _gradient_penalty(critic: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    n = min(len(x), len(y))
    draws = [torch.randint(len(z), (n,), generator=generator).to(z.device) for z in (x, y)]
    share = torch.rand(n, 1, dtype=x.dtype, generator=generator).to(x.device)
    between = x[draws[0]].lerp(y[draws[1]], share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()
