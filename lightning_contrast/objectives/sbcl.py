"""SBCL: contrast of subclasses, and of classes beyond them."""

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair, Row, Scores, Similarity, pair_function
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.same_label import SameLabel
from lightning_contrast.temperatures import TemperatureModule

SUBCLASS, CLASS = 1.0, 2.0


class SBCL(Objective):
    """SupCon on two levels: the anchor's subclass, and the rest of its class (Hou et al. 2023, eq. 2).

    ``-1/|M_i| sum_{p in M_i} log softmax_{V_i}(s_ip / tau) - weight/|P_i - M_i| sum_{p in P_i - M_i} log softmax_{V_i - M_i}(s_ip /
    tau_i)``: ``M_i`` the same subclass, ``P_i`` the same class, ``V_i`` all others. Subclasses are of about equal size, so
    that an instance of a large class pulls no more than one of a small class. They come as payload ``subclass``, unique per
    class, and ``subclass_temperature``, the anchors' ``tau_i`` (without it ``tau``), from the callback ``Subclasses``; until
    there are any it is SupCon. A level without positives contributes 0.

    Sure: high; medium for ``weight``.

    Args:
        weight: of the second level, >= 0.
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: for a negative weight.
        KeyError: if the contrast has no ``label``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> z, y = torch.eye(4)[None], torch.zeros(4).long()
        >>> contrast = Contrast.from_views(z, label=y, subclass=torch.tensor([0, 0, 1, 1]))
        >>> round(SBCL(weight=0.2)(contrast).item(), 5)     # log 3 + 0.2 log 2
        1.23724
    """

    requires = ("label",)

    def __init__(
        self,
        weight: float = 0.2,
        temperature: float | TemperatureModule = 0.1,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight={weight}: must be a finite number >= 0.")
        self.weight = weight

    def prepare(self, contrast: Contrast) -> Contrast:
        """Positives are the anchor's class, its subclass marked where it is known."""
        contrast.anchors.get("label")
        known = "subclass" in contrast.anchors.payload
        return super().prepare(contrast.retarget(levels if known else _same_class))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        anchors = scores.contrast.anchors.payload
        if "subclass_temperature" not in anchors:
            return scores.map_rows(self._both)
        return scores.map_rows(self._both, anchors["subclass_temperature"])

    def _both(self, row: Row, temperature: Tensor | None = None) -> Tensor:
        own, rest = row.target == SUBCLASS, row.target == CLASS
        second = row.logit if temperature is None else row.similarity / temperature
        return _level(row.logit, own, row.exists) + self.weight * _level(second, rest, row.exists & ~own)


def _level(logit: Tensor, positive: Tensor, among: Tensor) -> Tensor:
    """Mean over the positives of ``-log softmax`` among some, 0 without positives. ``[n]``."""
    count = positive.sum(1)
    some = count > 0
    total = logit.masked_fill(~(among & some[:, None]), torch.finfo(logit.dtype).min).logsumexp(1)
    mean = logit.masked_fill(~positive, 0.0).sum(1) / count.clamp(min=1)
    return (total - mean).masked_fill(~some, 0.0)


_same_class = SameLabel()


@pair_function(swappable=True)
def levels(pair: Pair) -> Tensor:
    """1 for the anchor's subclass, 2 for the rest of its class, else 0. ``[n, m]``."""
    return _same_class(pair) * torch.where(pair.same("subclass"), SUBCLASS, CLASS)
