"""Several processes with uneven samples, or none, are one process: value, gradients and state, over two steps."""

import pytest
import torch

from lightning_contrast.contrast.exchange import in_turn
from lightning_contrast.objectives import Objective
from tests.objectives.classic_cases import CASES, DIM, made, samples
from tests.ranks import run_ranks

SPLITS = [(4, 6), (0, 10), (3, 1, 6)]


def two_steps(
    name: str, objective: Objective, rows: slice | torch.Tensor
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Loss, gradient of an encoder and of the objective in the second step, and the state after it."""
    encoder = torch.eye(DIM, dtype=torch.float64).add(0.1).requires_grad_()
    for step in range(2):
        x, y, label = samples(seed=step)
        encoder.grad = None
        objective.zero_grad()
        loss = objective(CASES[name].contrast(x[rows] @ encoder, y[rows] @ encoder, label[rows]))
        loss.backward()
    trained = [encoder, *(p for p in objective.parameters() if p.requires_grad)]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    state = [v for v in objective.state_dict().values() if isinstance(v, torch.Tensor)]
    if hasattr(objective, "support"):
        state.append(objective.support.vectors)
    return [loss.detach(), *grads], state


def on_rank(rank: int, world: int, name: str, sizes: tuple[int, ...]):
    start = sum(sizes[:rank])
    dealt = in_turn(list(sizes)).argsort()  # which row of one process each has
    return two_steps(name, made(name), dealt[start : start + sizes[rank]])


@pytest.mark.parametrize("sizes", SPLITS, ids=str)
@pytest.mark.parametrize("name", sorted(CASES))
def test_processes_are_one(name, sizes):
    values, state = two_steps(name, made(name), slice(0, 10))
    shares = run_ranks(len(sizes), on_rank, name, sizes)
    for place, value in enumerate(values):  # what DDP does
        together = sum(share[0][place] for share in shares) / len(sizes)
        torch.testing.assert_close(together, value, rtol=1e-9, atol=1e-11)
    for _, found in shares:
        for a, b in zip(found, state, strict=True):
            torch.testing.assert_close(a, b)
