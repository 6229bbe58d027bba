"""I-Con: the divergence of two neighbour distributions."""

import math
from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.contrast import Contrast, Row, Scores, Similarity
from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.similarities.neighbour_kernels import ClusterKernel, GaussianKernel, StudentKernel
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule

Kernel = Literal["softmax", "gaussian", "student", "cluster"]


class ICon(Objective):
    """``mean_i KL(p(.|i) || q(.|i))``: supervisory neighbours ``p``, learned neighbours ``q``.

    ``p`` is the target, row by row: the other views (default), equal labels, neighbours, a graph. ``q`` is a kernel,
    normalised over the pairs that exist. With ``p`` on the other view and ``q = softmax(s / tau)`` this is NT-Xent; with
    ``p`` uniform over the label it is SupCon minus the mean log number of positives (Alshammari et al., "I-Con: A
    Unifying Framework for Representation Learning", ICLR 2025). The gradient with respect to the logits is ``q - p``.

    Sure: high for loss and kernels, medium for the debiasing defaults.

    Args:
        temperature: of the kernel; the Gaussian's ``sigma^2``. Without effect on ``student`` and ``cluster``.
        kernel: ``softmax`` of the similarity; ``gaussian``, ``-||f_i - f_j||^2 / 2`` of embeddings as they are (on the
            unit sphere the softmax again); ``student``, ``(1 + ||f_i - f_j||^2 / gamma)^{-(gamma + 1) / 2}``;
            ``cluster``, ``sum_c phi_ic phi_jc / sum_k phi_kc`` of soft assignments, rows on the simplex, where the
            anchor itself keeps its share of the mass.
        similarity: of the ``softmax`` kernel; ``None`` is cosine.
        gamma: degrees of freedom of ``student``, > 0.
        debias: ``a`` in [0, 1): ``p <- (1 - a) p + a / n`` over the ``n`` candidates that exist.
        debias_learned: the same mixture in ``q``.
        target: ``p`` before normalisation; ``None`` is the other views, ``SameLabel()`` the labels.

    Raises:
        ValueError: for a value out of its range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> round(ICon(temperature=1.0)(Contrast.from_views(torch.eye(2).expand(2, 2, 2))).item(), 5)
        0.55144
    """

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.1,
        kernel: Kernel = "softmax",
        similarity: Similarity | None = None,
        gamma: float = 1.0,
        debias: float = 0.0,
        debias_learned: float = 0.0,
        target: Target | None = None,
    ) -> None:
        for name, value in (("debias", debias), ("debias_learned", debias_learned)):
            if not 0 <= value < 1:
                raise ValueError(f"{name}={value}: must be in [0, 1).")
        kernels: dict[str, Similarity | None] = {
            "softmax": similarity,
            "gaussian": GaussianKernel(),
            "student": StudentKernel(gamma),
            "cluster": ClusterKernel(),
        }
        if kernel not in kernels:
            raise ValueError(f"kernel={kernel!r}: use one of {list(kernels)}.")
        if kernel != "softmax" and similarity is not None:
            raise ValueError(f"similarity is for kernel='softmax'; {kernel!r} has its own.")
        own_scale = kernel in ("student", "cluster")
        super().__init__(1.0 if own_scale else temperature, kernels[kernel])
        self.kernel, self.debias, self.debias_learned, self.target = kernel, debias, debias_learned, target

    def prepare(self, contrast: Contrast) -> Contrast:
        """For clusters, the candidates divided by the size of each cluster over all ranks."""
        if self.kernel == "cluster":
            if not contrast.is_self:
                raise ValueError("ICon(kernel='cluster') needs Contrast.from_views: clusters are sized over the batch.")
            block = contrast.candidates[0]
            size = gather_rows(block.first.sum(0, keepdim=True)).sum(0)
            share = block.replace(z=block.first / size.clamp(min=torch.finfo(size.dtype).tiny))
            contrast = contrast.replace(candidates=(share, *contrast.candidates[1:]))
        return super().prepare(contrast)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        return scores.map_rows(self._divergence)

    def _divergence(self, row: Row) -> Tensor:
        count = row.exists.sum(1, keepdim=True).to(row.logit.dtype)
        log_q = row.logit if row.log_weight is None else row.logit + row.log_weight
        log_q = log_q.masked_fill(~row.exists, -torch.inf)
        if self.kernel != "cluster":
            log_q = log_q - torch.logsumexp(log_q, 1, keepdim=True)
        if self.debias_learned:
            uniform = (self.debias_learned / count).log()
            log_q = torch.logaddexp(log_q + math.log1p(-self.debias_learned), uniform)
        p = row.target / row.target.sum(1, keepdim=True)
        p = (1 - self.debias) * p + self.debias / count * row.exists
        entropy = p * torch.where(p > 0, p, 1.0).log()
        return (entropy - p * log_q.masked_fill(p <= 0, 0.0)).sum(1)
