"""A temperature of its own for each contrast of a step: heads, scales, pairs of modalities."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from lightning_contrast.temperatures.learnable import Learnable
from lightning_contrast.temperatures.temperature import Fixed, TemperatureModule

if TYPE_CHECKING:
    from lightning_contrast.contrast.contrast import Contrast, Temperature


class PerHead(TemperatureModule):
    """Temperatures by the name of the contrast; the other direction of a symmetric objective shares its contrast's.

    A module whose ``contrast`` returns several (one a head, one a pair of modalities) names them; ``both_orders`` has
    ``view1->view2`` and ``view2->view1``. Each is logged as ``train/temperature/<name>``.

    Args:
        temperatures: where each name starts, > 0.
        other: for names that are not listed, > 0; ``None`` refuses them.
        learnable: whether each is trained, as :class:`Learnable`.
        minimum: smallest learnable temperature.
        maximum: largest learnable temperature.

    Raises:
        ValueError: for a value out of its range, or without any name.
        KeyError: for a contrast of another name, unless ``other`` is given.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> taus = PerHead({"global": 0.1, "local": 0.2})
        >>> taus(Contrast.from_pairs(torch.eye(2), torch.eye(2), name="local"))
        0.2
    """

    def __init__(
        self,
        temperatures: dict[str, float],
        other: float | None = None,
        learnable: bool = False,
        minimum: float = 0.01,
        maximum: float = 100.0,
    ) -> None:
        super().__init__()
        if not temperatures:
            raise ValueError("temperatures={}: name at least one contrast, or use a number.")

        def made(tau: float) -> TemperatureModule:
            return Learnable(tau, minimum, maximum) if learnable else Fixed(tau)

        self.names = tuple(temperatures)
        # Names hold dots and arrows, which keys of modules may not.
        self.heads = nn.ModuleList([made(tau) for tau in temperatures.values()])
        self.other = None if other is None else made(other)

    def head(self, name: str) -> TemperatureModule:
        """The temperature of the contrasts of that name."""
        if name in self.names:
            found = self.heads[self.names.index(name)]
            assert isinstance(found, TemperatureModule)
            return found
        if self.other is None:
            raise KeyError(
                f"PerHead has temperatures for {sorted(self.names)}, but a contrast is called {name!r}: list it, or give "
                "other=..."
            )
        return self.other

    def forward(self, contrast: "Contrast") -> "Temperature":
        """As the contrast's own temperature: a number, or 0-d and trainable."""
        return self.head(contrast.name)(contrast)

    def value(self) -> Tensor | float | None:
        """The mean over the names listed."""
        values = [head.value() for head in self.heads if isinstance(head, TemperatureModule)]
        return sum(v for v in values if v is not None) / len(values)
