"""Any objective as a term beside another."""

from torch import Tensor

from lightning_contrast.contrast import Contrast
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.regularisers.regulariser import Regulariser


class Beside(Regulariser):
    """The loss of a second objective on the same contrast, as an auxiliary task: ``Beside(Classification(100, "region"))``.

    Target, similarity and temperature are the second objective's own, not the first one's; what callbacks excluded, weighed
    or appended counts for both.

    Args:
        objective: any that takes one contrast.
        weight: factor of its loss, >= 0.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(self, objective: Objective, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.objective = objective
        self.requires = objective.requires  # type: ignore[misc]

    def term(self, contrast: Contrast) -> Tensor:
        """0-d."""
        return self.objective(contrast.replace(target=None, similarity=None, temperature=None))
