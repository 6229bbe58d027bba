"""Common and salient patterns, separated by what the background lacks."""

import math

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.functional.distance import squared_distance
from lightning_contrast.functional.potential import log_potential
from lightning_contrast.objectives.objective import Objective


class SepCLR(Objective):
    """``L_common + salient L_salient + null L_null + independence J``: two codes that share no information.

    The common code ``c`` (unit length) learns from background and target samples, the salient code ``s`` from targets
    only; of background samples it is the constant 0 (Louiset et al., "Separating common from salient patterns with
    Contrastive Representation Learning", ICLR 2024). With ``align(a, b) = mean ||a - b||^2 / (2 tau)``, ``uniform(a) =
    log mean_{i<j} exp(-||a_i - a_j||^2 / (2 tau))``, ``s'`` = ``s`` with background rows set to 0, views 1 and 2:

    - ``L_common = align(c1, c2) + uniform(c1) + uniform(c2)``,
    - ``L_salient = align(s1, s2 | target) + uniform(s'1) + uniform(s'2)``,
    - ``L_null = mean over views of align(0, s | background)``,
    - ``J = mean over views of mean_i log mean_j exp(-(||c_i - c_j||^2 + ||s'_i - s'_j||^2) / (2 tau))``, ``j = i``
      included: minus a kernel joint entropy, small when the codes are independent.

    Needs :meth:`Contrast.from_pairs` with tuples ``(c, s)`` on both sides, or with one embedding whose last ``width``
    dimensions are ``s``; and ``label`` 1 (target) or 0 (background).

    Sure: high; the weights on other data sets medium.

    Args:
        tau: > 0.
        salient: weight ``a``, >= 0.
        null: weight ``b``, >= 0.
        independence: weight ``l``, >= 0.
        width: dimensions of the salient code, where both codes come as one embedding; ``None``: they come as a tuple.
        key: payload that says which samples are targets.

    Raises:
        ValueError: for a value out of its range, or embeddings that are no two codes.
        KeyError: if the contrast has no ``label``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> views = (torch.eye(2), torch.zeros(2, 1))
        >>> c = Contrast.from_pairs(views, views, label=torch.tensor([0, 0]))
        >>> SepCLR(independence=0.0)(c).item()    # uniform(c) is -2 for two orthogonal codes
        -4.0
    """

    reduction = "batch"
    requires = ("label",)

    def __init__(
        self,
        tau: float = 0.5,
        salient: float = 1000.0,
        null: float = 1000.0,
        independence: float = 10.0,
        width: int | None = None,
        key: str = "label",
    ) -> None:
        super().__init__(temperature=1.0)
        if not 0 < tau < float("inf"):
            raise ValueError(f"tau={tau}: must be a finite number > 0.")
        if min(salient, null, independence) < 0:
            raise ValueError(f"salient={salient}, null={null}, independence={independence}: weights must be >= 0.")
        if width is not None and width < 1:
            raise ValueError(f"width={width}: dimensions of the salient code, at least 1, or None.")
        self.width, self.key = width, key
        self.requires = (key,)  # type: ignore[misc]
        self.tau, self.salient, self.null, self.independence = tau, salient, null, independence

    def prepare(self, contrast: Contrast) -> Contrast:
        """Two codes and labels must be there."""
        if self.width is not None and not contrast.is_self and len(contrast.anchors.leaves) == 1:
            contrast = contrast.map_own(self._split)
        if contrast.is_self or len(contrast.anchors.leaves) != 2:
            raise ValueError(
                "SepCLR reads two codes of two views: Contrast.from_pairs((common, salient), (common, salient), "
                f"label=...); got {len(contrast.anchors.leaves)} tensor(s) a side."
            )
        contrast.anchors.get(self.key)
        return super().prepare(contrast)

    def _split(self, block: Candidates) -> Candidates:
        z, width = block.first, self.width or 0
        if z.shape[-1] <= width:
            raise ValueError(
                f"SepCLR(width={width}): embeddings of width {z.shape[-1]} leave nothing for the common code."
            )
        return block.replace(z=(z[..., :-width], z[..., -width:]))

    def rows(self, scores: Scores) -> Tensor:
        """The loss of all samples of all ranks, 0-d."""
        terms = self.terms(scores.contrast)
        weight = {"common": 1.0, "salient": self.salient, "null": self.null, "independence": self.independence}
        return torch.stack([weight[name] * value for name, value in terms.items()]).sum()

    def terms(self, contrast: Contrast) -> dict[str, Tensor]:
        """``common``, ``salient``, ``null`` and ``independence`` without their weights, each 0-d."""
        sides = (contrast.anchors, contrast.candidates[0])
        (c1, s1), (c2, s2) = ([t if t.element_size() >= 4 else t.float() for t in b.leaves] for b in sides)
        target = contrast.anchors.get(self.key) > 0
        kept = [s * target[:, None] for s in (s1, s2)]
        return {
            "common": self._align(c1, c2) + self._uniform(c1) + self._uniform(c2),
            "salient": self._align(s1[target], s2[target]) + self._uniform(kept[0]) + self._uniform(kept[1]),
            "null": (self._null(s1[~target]) + self._null(s2[~target])) / 2,
            "independence": (self._joint(c1, kept[0]) + self._joint(c2, kept[1])) / 2,
        }

    def _align(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().sum() / (2 * self.tau * max(1, len(a)))

    def _null(self, s: Tensor) -> Tensor:
        return self._align(torch.zeros_like(s), s)

    def _uniform(self, a: Tensor) -> Tensor:
        return log_potential(a, 1 / (2 * self.tau), ~torch.eye(len(a), dtype=torch.bool, device=a.device))

    def _joint(self, c: Tensor, s: Tensor) -> Tensor:
        energy = -(squared_distance(c, c) + squared_distance(s, s)) / (2 * self.tau)
        return torch.logsumexp(energy, 1).mean() - math.log(max(1, len(c)))
