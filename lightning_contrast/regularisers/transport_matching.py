"""Two sets of embeddings matched by optimal transport."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.functional.sinkhorn import sinkhorn
from lightning_contrast.regularisers.regulariser import Regulariser


def transport_plan(cost: Tensor, epsilon: float = 0.1, iterations: int = 20) -> Tensor:
    """The entropic plan between two uniform sets of ``B``: rows sum to ``1 / B``, columns in the limit. ``[B, B]``.

    Args:
        cost: ``[B, B]``.
        epsilon: > 0; smaller is nearer to a permutation and needs more iterations.
        iterations: >= 1.
    """
    return sinkhorn(-cost, epsilon, iterations) / max(1, len(cost))


class TransportMatching(Regulariser):
    """``sum_ij P_ij (1 - cos(t_i, s_j))`` with the entropic optimal plan ``P``: student and teacher as sets.

    wcord's local term (Chen et al., "Wasserstein Contrastive Representation Distillation", CVPR 2021): the primal
    Wasserstein distance of the batch's two sets, the plan a constant. Who is whose partner is not told, so the term does
    not change when the student's rows are permuted. Anchors are one set, the first block of candidates the other, over
    all ranks.

    Sure: medium (``epsilon`` and iterations are not confirmed).

    Args:
        weight: >= 0.
        epsilon: of the entropy, > 0.
        iterations: of Sinkhorn's scalings, >= 1.

    Raises:
        ValueError: for a value out of range, private candidates, or sides of different width.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> swapped = Contrast.from_pairs(torch.eye(2), torch.eye(2).flip(0))
        >>> round(TransportMatching(weight=1.0, epsilon=0.01)(swapped).item(), 5)
        0.0
    """

    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(self, weight: float = 0.05, epsilon: float = 0.1, iterations: int = 20) -> None:
        super().__init__(weight)
        if not epsilon > 0 or iterations < 1:
            raise ValueError(
                f"epsilon={epsilon}, iterations={iterations}: need epsilon > 0 (0.1), iterations >= 1 (20)."
            )
        self.epsilon, self.iterations = epsilon, iterations

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, in [0, 2]."""
        first = contrast.candidates[0]
        if first.where == "private" or first.first.shape[-1] != contrast.anchors.first.shape[-1]:
            raise ValueError(
                f"TransportMatching matches two sets of equal width, got {list(contrast.anchors.first.shape)} and "
                f"{list(first.first.shape)} ({first.where}): use in_batch=True, and project to one width."
            )
        sides = [z if z.element_size() >= 4 else z.float() for z in (contrast.anchors.first, first.first)]
        if contrast.exchange != "none":
            sides = [gather_rows(z) for z in sides]
        s, t = (F.normalize(z, dim=-1) for z in sides)
        cost = 1 - t @ s.to(t.dtype).mT
        return (transport_plan(cost, self.epsilon, self.iterations).to(cost.dtype) * cost).sum()
