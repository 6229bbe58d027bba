"""Two players, trained in turn."""

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast
from lightning_contrast.modules.manual import ManualModule, raw
from lightning_contrast.objectives.two_players import TwoPlayerObjective


class AlternatingModule(ManualModule):
    """A ``ContrastiveModule`` whose objective has an opponent (a ``TwoPlayerObjective``): a step of each a batch.

    The first player (encoder, head, objective) lowers the objective with the opponent as it is; then the opponent, on the
    same embeddings as constants, lowers its own loss. Both optimizers are in the checkpoint.

    Args:
        *args: as for ``ContrastiveModule``.
        opponent_optimizer: ``None`` is AdamW at 1e-3.
        opponent_steps: of the opponent a batch, >= 1.
        **kwargs: as for ``ContrastiveModule``.

    Raises:
        ValueError: for fewer steps; before training for what does not hold in manual optimisation.
        TypeError: for an objective without an opponent.
    """

    two_players = True

    def __init__(
        self, *args: Any, opponent_optimizer: OptimizerCallable | None = None, opponent_steps: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.objective, TwoPlayerObjective):
            raise TypeError(
                f"AlternatingModule needs an objective with an opponent (a TwoPlayerObjective, such as SepVAE), got "
                f"{type(self.objective).__name__}: use ContrastiveModule."
            )
        if opponent_steps < 1:
            raise ValueError(f"opponent_steps={opponent_steps}: must be at least 1.")
        self.opponent_optimizer, self.opponent_steps = opponent_optimizer, opponent_steps

    @property
    def opponent(self) -> nn.Module:
        """The second player."""
        assert isinstance(self.objective, TwoPlayerObjective)
        return self.objective.opponent

    def update(self, loss: Tensor) -> None:
        """The first player's step, then the opponent's."""
        contrasts = [detached(contrast) for contrast, _ in self._scored]
        rivals = [p for p in self.opponent.parameters() if p.requires_grad]
        known = {id(p) for p in rivals}
        ours = [p for p in self.trained() if id(p) not in known]
        self.step(ours, self.gradients(loss, ours))
        assert isinstance(self.objective, TwoPlayerObjective)
        optimizer = raw(self.optimizers()[1])  # type: ignore[index]
        for _ in range(self.opponent_steps):
            theirs = torch.stack([self.objective.opponent_loss(c) for c in contrasts]).mean()
            for p, g in zip(rivals, self.gradients(theirs, rivals), strict=True):
                p.grad = g
            optimizer.step()
            optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        """The first player's optimizer and schedule, and the opponent's optimizer."""
        rivals = [p for p in self.opponent.parameters() if p.requires_grad]
        for p in rivals:  # no part of the first player's optimizer
            p.requires_grad_(False)
        made = super().configure_optimizers()
        for p in rivals:
            p.requires_grad_(True)
        make = self.opponent_optimizer
        second = torch.optim.AdamW(rivals, lr=1e-3) if make is None else make(rivals)
        return (made if isinstance(made, dict) else {"optimizer": made}, {"optimizer": second})


def detached(contrast: Contrast) -> Contrast:
    """The contrast as a constant."""
    return contrast.map_own(lambda block: block.detach())
