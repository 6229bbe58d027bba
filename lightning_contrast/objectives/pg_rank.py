"""A ranking policy trained by its utility."""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast, Row, Scores, Similarity
from lightning_contrast.contrast.exchange import of_all_ranks, world_size
from lightning_contrast.functional.counter_random import hash_integers
from lightning_contrast.functional.plackett_luce import advantages, log_ranking, sampled_rankings
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.targets.target import Target
from lightning_contrast.temperatures import TemperatureModule

VIEWS = 64
"""More than a place in the batch has views."""


class PGRank(Objective):
    """``-mean_m sum_i A_mi log pi(r_mi | r_m1 .. r_m,i-1)``: REINFORCE on nDCG of rankings drawn from the scores.

    Gao et al., "Policy-Gradient Training of Language Models for Ranking" (Neural PG-RANK, 2023). A query's scores make a
    Plackett-Luce distribution over the orders of its candidates; `samples` orders are drawn by adding Gumbel noise. The
    advantage is the utility minus the mean of the other orders' (leave-one-out); with `to_go` each place is paid with
    what is collected from it on. The value has no meaning of its own, its gradient is that of the expected utility.
    What log-weights say is not read. The noise is a function of step, query and candidate, whichever process scores them.

    Sure: high for the estimator, medium for the numbers.

    Args:
        temperature: scores are divided by it; a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.
        target: relevance of the candidates, graded perhaps; ``None`` is 1 for the partner.
        samples: orders of each query, >= 2.
        k: cut-off of nDCG, >= 1.
        to_go: whether a place is paid with the utility from it on alone.
        seed: of the orders.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> from lightning_contrast import Contrast
        >>> PGRank(samples=4)(Contrast.from_pairs(torch.eye(3), torch.eye(3))).shape
        torch.Size([])
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
        symmetric: bool = False,
        target: Target | None = None,
        samples: int = 16,
        k: int = 10,
        to_go: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(temperature, similarity, symmetric)
        if samples < 2 or k < 1:
            raise ValueError(f"samples={samples}, k={k}: need at least 2 (others are the baseline) and 1.")
        self.target, self.samples, self.k, self.to_go, self.seed = target, samples, k, to_go, seed
        self.calls = 0
        """Training calls so far: the orders of each are others."""

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """Counts the calls in training, and numbers candidates that have no place in the batch."""
        if self.training and torch.is_grad_enabled():  # not while widths are being found
            self.calls += 1
        return tuple(
            c.replace(candidates=tuple(_numbered(b, c.anchors.rows) for b in c.candidates))
            for c in super().directions(contrast)
        )

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        anchors = scores.contrast.anchors
        number = anchors.get("position") * VIEWS + anchors.get("view").clamp(min=0)
        columns = _numbers(scores)
        seed = hash_integers(self.seed, self.calls)

        def loss(row: Row) -> Tensor:
            logits = row.logit.masked_fill(~row.exists, -torch.inf)
            orders = sampled_rankings(logits.detach(), self.samples, number, seed, columns)
            paid = advantages(row.target.detach(), orders, self.k, self.to_go)
            return -(paid * log_ranking(logits, orders)).sum(-1).mean(0)

        return scores.map_rows(loss)

    def get_extra_state(self) -> Tensor:
        """The number of training calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """As saved."""
        self.calls = int(state)


def _numbered(block: Candidates, anchors: int) -> Candidates:
    """Of negatives ``[N H, D]`` the place of their anchor in the batch of all processes, and which of its H."""
    if block.where != "batch" or "position" in block.payload:
        return block
    each = block.rows // anchors if anchors and block.rows % anchors == 0 else 1
    row = torch.arange(block.rows, device=block.first.device)
    place = Candidates(block.first, {"position": row // each})
    return block.attach(number=(of_all_ranks(place) if world_size() > 1 else place).get("position") * each + row % each)


def _numbers(scores: Scores) -> Tensor:
    """Of all candidates, ``[1, M]`` or ``[n, M]``, equal on any number of processes: the place in the batch, else in the
    block."""
    n, parts = scores.shape[0], []
    for block in scores.contrast.candidates:
        position = block.get("position")
        column = block.payload.get("number", torch.arange(block.rows, device=position.device).expand(position.shape))
        number = torch.where(position >= 0, position * VIEWS + block.get("view").clamp(min=0), column)
        number = number + zlib.crc32(block.name.encode()) * 2**30
        private = block.where == "private"
        parts.append(number.repeat_interleave(n // max(1, len(number)), 0) if private else number[None].expand(n, -1))
    return torch.cat(parts, 1)
