"""SwAV: one view's balanced cluster code, predicted from another."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.functional.sinkhorn import sinkhorn
from lightning_contrast.heads import PrototypeHead
from lightning_contrast.objectives.embeddings import aligned_views
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


class SwAV(Objective):
    r"""``-mean_{a, b != a} mean_i sum_k q^a_ik log p^b_ik`` (Caron et al. 2020, eq. 1 and 2).

    :math:`p^b` is the softmax of a view's cosines to ``K`` trained prototypes, :math:`q^a` the code of the other view: its
    cosines balanced by Sinkhorn over the batch of all processes, without gradient. Codes come from the first
    ``full_views`` views only, predictions from all of them (small crops). Give ``Contrast.from_views``, or
    ``from_pairs``. Appended blocks (a ``MemoryQueue``, for small batches) take part in the balance and in nothing else.

    Args:
        prototypes: ``K``, >= 1; the paper's is 3000.
        temperature: of the predictions, a number > 0 or a temperature module.
        epsilon: of the codes, > 0.
        iterations: of Sinkhorn, >= 1.
        full_views: views that have codes, >= 1.
        frozen_steps: training calls in which the prototypes get no gradient (the paper: the first epoch).
        dim: width of the embeddings; ``None``: from the first batch.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> z = torch.eye(2).expand(2, 2, 2)
        >>> loss = SwAV(prototypes=1, dim=2)                       # one prototype: nothing to tell apart
        >>> abs(loss(Contrast.from_views(z)).item())
        0.0
    """

    reduction = "batch"
    needs = frozenset()

    def __init__(
        self,
        prototypes: int = 3000,
        temperature: float | TemperatureModule = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        full_views: int = 2,
        frozen_steps: int = 0,
        dim: int | None = None,
    ) -> None:
        super().__init__(temperature)
        if not epsilon > 0 or iterations < 1:
            raise ValueError(
                f"epsilon={epsilon}, iterations={iterations}: need epsilon > 0 (0.05) and iterations >= 1."
            )
        if full_views < 1 or frozen_steps < 0:
            raise ValueError(f"full_views={full_views}, frozen_steps={frozen_steps}: must be >= 1 and >= 0.")
        self.prototypes = PrototypeHead(prototypes, dim)
        self.epsilon, self.iterations = epsilon, iterations
        self.full_views, self.frozen_steps = full_views, frozen_steps
        self.calls = 0
        """Training calls so far."""

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """The contrasts as they are; counts the calls in training."""
        out = super().directions(contrast)
        for one in out:
            self.prototypes.initialize_parameters(one.anchors.first)
        if self.training and torch.is_grad_enabled():  # not while widths are being found
            self.calls += 1
        return out

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        contrast = scores.contrast
        views = aligned_views(contrast)
        queue = [block.first for block in contrast.candidates[1:] if block.where == "replicated"]
        logit = [self._cosines(z) for z in views]
        known = self._cosines(torch.cat(queue)).detach() if queue else views[0].new_zeros(0, self.prototypes.prototypes)
        n = len(views[0])
        if not n:
            return sum(x.sum() for x in logit)  # type: ignore[return-value]
        tau = self._temperature(contrast)
        log_p = [F.log_softmax(x / tau, dim=1) for x in logit]
        losses = []
        for a in range(min(self.full_views, len(views))):
            code = self.codes(torch.cat([logit[a].detach(), known]))[:n]
            losses += [-(code * log_p[b]).sum(1).mean() for b in range(len(views)) if b != a]
        if not losses:
            raise ValueError("SwAV predicts one view's code from another: the contrast has only one view.")
        return torch.stack(losses).mean()

    def codes(self, cosine: Tensor) -> Tensor:
        """Balanced assignment ``[B, K]`` of rows with these cosines to the prototypes ``[B, K]``; rows sum to 1."""
        return sinkhorn(cosine, self.epsilon, self.iterations)

    def _cosines(self, z: Tensor) -> Tensor:
        cosine = self.prototypes(z)
        if self.training and self.calls <= self.frozen_steps:
            weight = self.prototypes.weight
            free = F.normalize(z, dim=-1) @ F.normalize(weight.detach().to(z.dtype), dim=-1).mT
            return free + 0 * weight.sum()  # in the graph: DDP waits for its gradient
        return cosine

    def _temperature(self, contrast: Contrast) -> float | Tensor:
        tau = contrast.temperature
        if isinstance(tau, str) or callable(tau) or (isinstance(tau, Tensor) and tau.dim()):
            raise ValueError(
                "SwAV has one temperature for all: a schedule or a learnable one, not one a sample or pair."
            )
        return 1.0 if tau is None else tau

    def get_extra_state(self) -> Tensor:
        """The number of training calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """As saved."""
        self.calls = int(state)
