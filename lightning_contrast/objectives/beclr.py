"""BECLR: alignment with a teacher and log-mean-exp uniformity of the student."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores, Similarity
from lightning_contrast.heads import HeadLike
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.paired import check_aligned, temperature_of, views_of
from lightning_contrast.temperatures import TemperatureModule


class BECLR(Objective):
    r"""``-mean_i p_i . t_i + weight log mean_i mean_{j not i, j not its pair} exp(z_i . z_j / tau)``.

    (Poulakakis-Daktylidis and Jamali-Rad, ICLR 2024.) :math:`z` are the student's embeddings of both views, all of unit
    length, :math:`p` their predictions by ``predictor``, :math:`t_i` the teacher's embedding of the other view, a
    constant. With ``key_encoder=Momentum()`` and ``both_orders`` the teacher is the moving average; ``from_views`` has the
    student's own other view, as SimSiam. Rows of a ``ClusteredMemory`` enlarge the batch: each anchor's neighbours are rows
    like itself, in both terms. Copies of one sample (equal ``index``) do not repel each other.

    Args:
        temperature: ``tau`` of the uniformity, a number > 0 or a temperature module.
        weight: of the uniformity, >= 0.
        predictor: embeddings to predictions of the same width; ``None``: the embeddings themselves.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: for a negative weight.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> BECLR()(Contrast.from_views(torch.eye(2).expand(2, 2, 2))).item()      # -1 + 0.1 log 1
        -1.0
    """

    reduction = "batch"
    needs = frozenset()

    def __init__(
        self,
        temperature: float | TemperatureModule = 2.0,
        weight: float = 0.1,
        predictor: HeadLike | None = None,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if weight < 0:
            raise ValueError(f"weight={weight}: must be >= 0 (0.1 in the paper).")
        self.weight, self.predictor = weight, predictor

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """All orders of the views as one contrast, with the predictions."""
        one = self._joined([contrast] if isinstance(contrast, Contrast) else list(contrast))
        z = one.anchors.first
        p = z if self.predictor is None else self.predictor(z)
        return super().directions(one.replace(anchors=one.anchors.attach(prediction=p)))

    def _joined(self, contrasts: list[Contrast]) -> Contrast:
        first = contrasts[0]
        if first.is_self:
            v = views_of(first.anchors)
            n = first.anchors.rows // v
            other = first.anchors.detach().map(lambda t: t.roll(n, 0)).replace(name="teacher")
            return first.replace(candidates=(other, *first.candidates[1:]))
        parts = []
        for number, c in enumerate(contrasts):
            block = c.candidates[0]
            if block.where == "private" and block.rows == 1:  # in_batch=False
                block = block.replace(where="batch").map(lambda t: t.flatten(0, 1))
            parts.append((c.anchors.attach(view=torch.full_like(c.anchors.get("position"), number)), block))
        anchors, teacher = (_cat([part[side] for part in parts]) for side in (0, 1))
        whole = first.replace(
            anchors=anchors.replace(name="student"),
            candidates=(teacher.detach().replace(name="teacher", where="batch"), *first.candidates[1:]),
            name="student->teacher",
        )
        check_aligned(whole)
        return whole

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        contrast = scores.contrast
        anchors, teacher = contrast.anchors, contrast.candidates[0]
        z, p, t = anchors.first[:, None], anchors.get("prediction")[:, None], teacher.first[:, None]
        index = anchors.get("index")[:, None]
        for block in contrast.candidates[1:]:
            if block.where == "private" and {"prediction", "teacher"} <= set(block.payload):
                z, p = torch.cat([z, block.first], 1), torch.cat([p, block.get("prediction").to(p)], 1)
                t = torch.cat([t, block.get("teacher").to(t)], 1)
                index = torch.cat([index, block.get("index").expand(len(z), -1)], 1)
        if not len(z):
            return z.sum() + p.sum()
        z, p, t = (x if x.dtype == torch.float64 else x.float() for x in (z, p, t))
        align = -(F.normalize(p, dim=-1) * t.detach()).sum(-1).mean()
        if not self.weight:
            return align
        slot = torch.arange(z.shape[1], device=z.device)
        row = anchors.get("position")[:, None] * len(slot) + slot
        return align + self.weight * self._uniformity(z.flatten(0, 1), row.flatten(), index.flatten(), scores)

    def _uniformity(self, z: Tensor, row: Tensor, index: Tensor, scores: Scores) -> Tensor:
        """``log mean_i mean_j exp(z_i . z_j / tau)`` over rows of other samples; 0 without any."""
        tau = temperature_of(scores)
        if isinstance(tau, Tensor) and tau.dim():
            raise ValueError("BECLR has one temperature for all: a schedule or a learnable one.")
        same = (row[:, None] == row) | ((index[:, None] == index) & (index[:, None] >= 0))
        count = (~same).sum(1)
        some = count > 0
        if not bool(some.any()):
            return 0 * z.sum()
        logit = ((z @ z.mT) / tau).masked_fill(same, -torch.inf)[some]
        each = logit.logsumexp(1) - count[some].to(logit.dtype).log()
        return each.logsumexp(0) - math.log(len(each))


def _cat(blocks: list[Candidates]) -> Candidates:
    keys = set.intersection(*(set(b.payload) for b in blocks))
    return blocks[0].replace(
        z=torch.cat([b.first for b in blocks]), payload={k: torch.cat([b.payload[k] for b in blocks]) for k in keys}
    )
