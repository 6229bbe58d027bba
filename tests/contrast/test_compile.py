"""An objective inside a compiled function: the hall is a graph break, the result the same."""

import pytest
import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.temperatures import Learnable


class Model(nn.Module):
    """An encoder and its loss."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.encoder = nn.Linear(6, 4)
        self.objective = InfoNCE(Learnable(0.3))
        self.objective.path = path  # type: ignore[assignment]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss."""
        return 2 * self.objective(Contrast.from_pairs(self.encoder(x).relu(), self.encoder(y).relu()))


@pytest.mark.parametrize("path", ["auto", "kernels", "tiles"])
def test_a_compiled_module_is_the_module(path: str) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 9, 6)
    model, found = Model(path), []
    for f in (model, torch.compile(model, backend="eager")):
        model.zero_grad()
        loss = f(x, y)
        loss.backward()
        found.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])  # type: ignore[union-attr]
    torch.testing.assert_close(found[1], found[0])
