"""The base of objectives with a second player."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives.objective import Objective


class TwoPlayerObjective(Objective):
    """An objective and a network that plays against it, or helps it by a loss of its own: a critic, a discriminator.

    A subclass has the network as :attr:`opponent` and writes :meth:`opponent_loss`. In its own loss it reads the network by
    :meth:`asked`, which does not train it. :class:`~lightning_contrast.modules.AlternatingModule` trains both in turn.
    """

    opponent: nn.Module

    def opponent_loss(self, contrast: Contrast) -> Tensor:
        """What the opponent lowers, 0-d.

        Args:
            contrast: one of :meth:`directions`, without gradients. Rows of this process; like an objective's, the loss of a
                process is its share, whose mean over processes is that of the whole batch.
        """
        raise NotImplementedError

    def asked(self, *inputs: Any) -> Any:
        """What the opponent says, as it is: gradients reach ``inputs``, not its weights."""
        weights = {name: p.detach() for name, p in self.opponent.named_parameters()}
        return functional_call(self.opponent, weights, inputs)
