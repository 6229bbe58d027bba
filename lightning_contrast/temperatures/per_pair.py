"""A temperature for each pair of groups: languages, sources, classes."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lightning_contrast.temperatures.temperature import TemperatureModule, check_temperature

if TYPE_CHECKING:
    from lightning_contrast.contrast import Contrast, Pair
    from lightning_contrast.contrast.contrast import Temperature


class PerPair(TemperatureModule):
    """``tau[g_i, g_j]`` by the groups of anchor and candidate; pairs with an unknown group (< 0) have the first value.

    Learnable in the logarithm of the scale and clamped after each step, as :class:`Learnable`. Any other function of a pair
    is given in code: ``contrast.replace(temperature=lambda pair: ...)`` in a callback, or a module like this one.

    Args:
        groups: their number ``K``; the payload runs from 0 to ``K - 1``.
        key: integer payload of both sides, ``[N]``.
        initial: where all pairs start, > 0.
        learnable: whether the table is trained.
        minimum: smallest learnable temperature.
        maximum: largest learnable temperature.

    Raises:
        ValueError: for a value out of its range.
        KeyError: if a block has no such payload.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> from lightning_contrast.objectives import InfoNCE
        >>> c = Contrast.from_pairs(torch.eye(2), torch.eye(2), label=torch.tensor([0, 1]))
        >>> round(InfoNCE(PerPair(groups=2, initial=1.0))(c).item(), 5)
        0.31326
    """

    def __init__(
        self,
        groups: int,
        key: str = "label",
        initial: float = 0.1,
        learnable: bool = True,
        minimum: float = 0.01,
        maximum: float = 100.0,
    ) -> None:
        super().__init__()
        check_temperature(initial, "initial")
        if groups < 1:
            raise ValueError(f"groups={groups}: the number of groups, at least 1.")
        if not 0 < minimum <= initial <= maximum:
            raise ValueError(
                f"minimum={minimum}, initial={initial}, maximum={maximum}: need 0 < minimum <= initial <= maximum."
            )
        self.groups, self.key, self.initial, self.minimum, self.maximum = groups, key, initial, minimum, maximum
        # One row: tables of two dimensions would be decayed like weights.
        self.log_scale = nn.Parameter(torch.full((groups * groups,), -math.log(initial)), requires_grad=learnable)

    def forward(self, contrast: "Contrast") -> "Temperature":
        """A function of the tile."""
        return self.of

    def of(self, pair: "Pair") -> Tensor:
        """``[n, m]``."""
        a, b = getattr(pair.anchor, self.key), getattr(pair.candidate, self.key)
        if (
            a.device.type == "cpu"
            and a.numel()
            and b.numel()
            and (largest := max(int(a.max()), int(b.max()))) >= self.groups
        ):
            raise ValueError(
                f"PerPair(groups={self.groups}): payload {self.key!r} holds {largest}; it must run from 0 to "
                f"{self.groups - 1}."
            )
        known = ((a >= 0) & (b >= 0)).expand(pair.shape)
        place = (a * self.groups + b).expand(pair.shape).masked_fill(~known, 0)
        tau = torch.exp(-self.log_scale)[place]
        return torch.where(known, tau, self.initial)

    def table(self) -> Tensor:
        """The temperatures now, ``[K, K]``, anchors by candidates."""
        return torch.exp(-self.log_scale.detach()).unflatten(0, (self.groups, self.groups))

    def value(self) -> Tensor:
        """The mean of the table."""
        return self.table().mean()

    def after_step(self) -> None:
        """Back into ``[minimum, maximum]``."""
        with torch.no_grad():
            self.log_scale.clamp_(-math.log(self.maximum), -math.log(self.minimum))
