"""Members of one cluster are to be near, but not as near as two views of a sample."""

from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast, Cosine, Paired, Scores, evaluate
from lightning_contrast.regularisers.regulariser import Regulariser


class ClusterBand(Regulariser):
    """``sum_ij relu(d_ij + inner) + relu(-d_ij - outer) / N^2`` over pairs of one cluster, ``d_ij = cos(i, j) - cos(i, i+)``.

    The bidirectional margin loss of Deng et al., "Clustering-Aware Negative Sampling for Unsupervised Sentence
    Representation" (Findings of ACL 2023, eq. 9): what shares a cluster with the anchor is likely to be a false negative, so
    that it should lie between the two margins below the positive. Pairs of different views; ``N`` others of a view, so that
    the term has the reference's scale. Clusters are the payload ``cluster`` that ``ClusterNegatives`` (or
    ``PrototypeMemory``) attaches; what has none, -1, shares none.

    Args:
        weight: 1e-4 in the paper.
        inner: ``a`` >= 0, the least gap below the positive.
        outer: ``b`` > ``a``, the largest.

    Raises:
        ValueError: for margins out of range.
        KeyError: if nobody attaches clusters.

    Example:
        >>> import torch
        >>> z = torch.tensor([[1.0, 0.0], [0.9, 0.19**0.5]])
        >>> c = Contrast.from_pairs(z, z, cluster=torch.zeros(2, dtype=torch.int64))
        >>> round(ClusterBand(weight=1.0)(c).item(), 5)             # two pairs of d = -0.1, over 4
        0.05
    """

    def __init__(self, weight: float = 1e-4, inner: float = 0.2, outer: float = 0.5) -> None:
        super().__init__(weight)
        if not 0 <= inner < outer < float("inf"):
            raise ValueError(f"inner={inner}, outer={outer}: need 0 <= inner < outer (0.2 and 0.5 in the paper).")
        self.inner, self.outer = inner, outer

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, >= 0."""
        contrast.anchors.get("cluster")
        plain = contrast.replace(
            candidates=contrast.candidates[:1], target=Paired(), similarity=Cosine(), temperature=1.0, rules=()
        )
        return evaluate(plain, self._rows).loss

    def _rows(self, scores: Scores) -> Tensor:
        other = scores.read(lambda pair: (~pair.same("view")).to(pair.similarity.dtype))
        mates = scores.read(lambda pair: (pair.same("cluster") & ~pair.same("position")).to(pair.similarity.dtype))
        gap = scores.logit - (scores.target_sum() / scores.target_mass())[:, None]
        band = F.relu(gap + self.inner) + F.relu(-gap - self.outer)
        return (band * mates * other).sum(1) / other.sum(1)
