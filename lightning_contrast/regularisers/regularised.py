"""An objective and what is added to it."""

from dataclasses import replace

import torch

from lightning_contrast.contrast import Contrast, Result, Scores
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.regularisers.regulariser import Regulariser


class Regularised(Objective):
    """``objective + sum_r weight_r term_r``: the terms see what the objective sees, after the callbacks.

    Args:
        objective: any.
        regularisers: at least one.

    Raises:
        ValueError: without regularisers.

    Example:
        >>> import torch
        >>> from lightning_contrast.objectives import InfoNCE
        >>> from lightning_contrast.regularisers import Dispersive
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> both = Regularised(InfoNCE(1.0), [Dispersive(weight=0.0)])
        >>> round(both(Contrast.from_views(z)).item(), 5)
        0.55144
    """

    def __init__(self, objective: Objective, regularisers: list[Regulariser]) -> None:
        # Callbacks look at an objective's temperature and similarity: they are the inner one's.
        super().__init__(objective.temperature, objective.similarity, objective.symmetric)
        if not regularisers:
            raise ValueError("regularisers=[]: give at least one, or use the objective alone.")
        self.objective = objective
        self.regularisers = torch.nn.ModuleList(regularisers)
        self.reduction = objective.reduction  # type: ignore[misc]
        self.needs = objective.needs  # type: ignore[misc]
        parts: list[Objective | Regulariser] = [objective, *regularisers]
        wanted = dict.fromkeys(key for one in parts for key in one.requires if key not in objective.provides)
        self.requires = tuple(wanted)  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """As the objective's."""
        return self.objective.prepare(contrast)

    def directions(self, contrast: Contrast | list[Contrast]) -> tuple[Contrast, ...]:  # type: ignore[override]
        """As the objective's."""
        return self.objective.directions(contrast)

    def rows(self, scores: Scores) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """As the objective's, without the terms."""
        return self.objective.rows(scores)

    def evaluate(self, contrast: Contrast) -> Result:
        """The objective's result; its loss has the terms too, and its parts are the two."""
        result = self.objective.evaluate(contrast)
        with torch.autocast(result.loss.device.type, enabled=False):
            terms = torch.stack([term(contrast) for term in self.regularisers]).sum().to(result.loss.dtype)
        return replace(result, loss=result.loss + terms, parts=(result.loss, terms))
