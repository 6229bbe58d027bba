"""Invariance propagation: the anchor's own memory, and the hard ones among its neighbours' neighbours."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair, Scores, Similarity
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.temperatures import TemperatureModule

BACKGROUND, OWN, HARD = 0, 1, 2
"""What a candidate is to its anchor, payload ``part``; -1 is no candidate."""


class InvP(InfoNCE):
    """Instance discrimination over a memory bank, and its positives by propagation (Wang et al. 2020, eq. 3 and 7).

    ``L_ins + weight L_inv`` with ``L_ins = -log( e_own / (e_own + sum_{B_i} e) )`` and ``L_inv = -log( sum_{H_i} e / sum_{B_i}
    e )``, ``e = exp(z . v / tau)``: ``B_i`` the most similar entries of the bank without the anchor's own, ``H_i`` the least
    similar of those that are reached over neighbours. ``H_i`` need not lie in ``B_i``, so ``L_inv`` may be negative; what an
    anchor has nothing for is 0. The callback ``InvariancePropagation`` brings the candidates, with payload
    ``part``, and sets :func:`parts` as target; until there are any this is InfoNCE of the views.

    Args:
        weight: of the second term, >= 0; 0.6 is the paper's.
        temperature: a number > 0 or a temperature module; 0.07 is the paper's.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(
        self,
        weight: float = 0.6,
        temperature: float | TemperatureModule = 0.07,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        self.form = None
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight={weight}: must be a finite number >= 0.")
        self.weight = weight

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        if not isinstance(scores.contrast.target, Parts):
            return super().rows(scores)
        background = scores.logsumexp("negatives")

        def over(part: int) -> Tensor:
            return scores.map_rows(
                lambda row: row.logit.masked_fill(~(row.exists & (row.target == part)), -torch.inf).logsumexp(1)
            )

        own, hard = over(OWN), over(HARD)
        # Infinities out of the way before they are subtracted: their gradient would be no number.
        known, both = own > -torch.inf, (hard > -torch.inf) & (background > -torch.inf)
        met = torch.where(known, own, 0.0)
        instance = (torch.logaddexp(met, background) - met).masked_fill(~known, 0.0)
        propagated = torch.where(both, background, 0.0) - torch.where(both, hard, 0.0)
        return instance + self.weight * propagated


class Parts:
    """1 for the anchor's own entry, 2 for a hard positive, else 0: payload ``part`` of one block; others are not compared."""

    def __init__(self, block: str) -> None:
        self.block = block

    def __call__(self, pair: Pair) -> Tensor:
        """``[n, m]``."""
        part = pair.candidate.part if pair.block == self.block else pair.candidate.position * 0
        return part.clamp(min=0).expand(pair.shape).float()

    def gone(self, pair: Pair) -> Tensor:
        """Everything outside the block, and what fills it up. Bool ``[n, m]``."""
        if pair.block == self.block:
            return (pair.candidate.part < 0).expand(pair.shape)
        return torch.ones(pair.shape, dtype=torch.bool, device=pair.candidate.position.device)


def parts(contrast: Contrast, block: str) -> Contrast:
    """The contrast with its last block, of that name and with payload ``part``, as the only one that counts."""
    target = Parts(block)
    return contrast.retarget(target).exclude(target.gone)
