"""AMCL: several heads, and a temperature for every pair and head."""

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast, Scores, Similarity
from lightning_contrast.contrast.similarity import Embedding
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.slices import PartCosine, part_of


class PairNetwork(Similarity):
    """``g(a, b)``: inner product of what one small network makes of both sides; symmetric.

    Args:
        hidden: width of the network, >= 1.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.part = slice(None)

    def tile(self, a: Embedding, b: Embedding) -> Tensor:
        """``[n, m]``, of the dimensions ``part``."""
        one, two = (part_of(z, self.part) for z in (a, b))
        weight = next(self.layers.parameters()).dtype
        return super().tile(self.layers(one.to(weight)).to(one), self.layers(two.to(weight)).to(two))


class AMCL(Objective):
    """Mean over heads ``c`` of ``-s+ / t+ + log sum_n exp(s_n / t_n) + beta (omega(t+) - omega(t_n*))``.

    ``s`` is the cosine of a head's embeddings, ``t = minimum + (maximum - minimum) sigmoid(g)`` is predicted for every
    pair, ``omega(t) = d / 2 log t + 1 / t`` keeps it sane, ``n*`` is the negative of the largest ``s / t``. The positive
    stays outside the denominator (Wang et al., "Adaptive Multi-head Contrastive Learning", ECCV 2024, table of losses, the
    SimCLR and MoCo form). The heads are equal parts of the embedding, as if their last layers stood side by side.

    Sure: high for the loss, medium for the constants of ``omega`` and for ``g``.

    Args:
        heads: ``C`` >= 1, dividing the width of the embeddings.
        beta: >= 0; 0.1 to 1 in the paper.
        minimum: smallest temperature, > 0; the paper's 1e-5 overflows in half precision.
        maximum: largest temperature; equal to ``minimum`` it is constant.
        hard: the largest ``s / t`` in place of the log-sum-exp (the paper's table).
        hidden: width of the network of ``g``.
        symmetric: also the other direction, for pairs.

    Raises:
        ValueError: for numbers out of range, a width that ``heads`` does not divide, or a temperature from elsewhere.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> loss = AMCL(heads=1, beta=0.0, minimum=1.0, maximum=1.0)
        >>> round(loss(Contrast.from_pairs(torch.eye(2), torch.eye(2))).item(), 5)     # 0 - 1
        -1.0
    """

    needs = frozenset({"positive", "negative"})

    def __init__(
        self,
        heads: int = 3,
        beta: float = 0.1,
        minimum: float = 0.05,
        maximum: float = 2.0,
        hard: bool = False,
        hidden: int = 64,
        symmetric: bool = False,
    ) -> None:
        super().__init__(1.0, symmetric=symmetric)
        if heads < 1 or hidden < 1:
            raise ValueError(f"heads={heads}, hidden={hidden}: must be at least 1.")
        if not 0 <= beta < float("inf"):
            raise ValueError(f"beta={beta}: must be a finite number >= 0.")
        if not 0 < minimum <= maximum < float("inf"):
            raise ValueError(f"minimum={minimum}, maximum={maximum}: need 0 < minimum <= maximum.")
        self.heads, self.beta, self.hard = heads, float(beta), hard
        self.minimum, self.maximum = float(minimum), float(maximum)
        self.network = PairNetwork(hidden)

    def prepare(self, contrast: Contrast) -> Contrast:
        """The network learns its width before anything is scored."""
        width = contrast.anchors.first.shape[-1]
        if width % self.heads:
            raise ValueError(f"AMCL(heads={self.heads}) got embeddings of width {width}: make it a multiple.")
        with torch.no_grad():
            z = contrast.anchors.first.new_zeros(1, width // self.heads, dtype=next(self.network.parameters()).dtype)
            self.network.layers(z)
        return super().prepare(contrast)

    def omega(self, tau: Tensor, width: int) -> Tensor:
        """``d / 2 log t + 1 / t``, the normaliser of a Gaussian of variance ``t`` on unit vectors. Any shape."""
        return width / 2 * tau.log() + 1 / tau

    def temperatures(self, scores: Scores, head: int) -> Tensor:
        """The temperatures of all pairs in a head, ``[n, M]``."""
        self.network.part = self._part(scores, head)
        spread = scores.under(self.network).similarity
        return self.minimum + (self.maximum - self.minimum) * torch.sigmoid(spread)

    def rows(self, scores: Scores) -> tuple[Tensor, dict[str, Tensor]]:
        """``[n]``, and ``positive_temperature`` ``[n]``."""
        if scores.contrast.temperature != 1.0:
            raise ValueError("AMCL predicts its temperatures: take away the callback that sets another.")
        losses, taus = zip(*(self._head(scores, c) for c in range(self.heads)), strict=True)
        return torch.stack(losses).mean(0), {"positive_temperature": torch.stack(taus).mean(0).detach()}

    def _part(self, scores: Scores, head: int) -> slice:
        width = scores.contrast.anchors.first.shape[-1] // self.heads
        return slice(head * width, (head + 1) * width)

    def _head(self, scores: Scores, head: int) -> tuple[Tensor, Tensor]:
        part = self._part(scores, head)
        tau, under = self.temperatures(scores, head), scores.under(PartCosine(part))
        omega = self.beta * self.omega(tau, part.stop - part.start)
        logit = under.similarity / tau + (under.logit - under.similarity)  # shifts, if any
        weight, mass = under.target, under.target.sum(1)
        positive = (weight * (omega - logit)).sum(1) / mass
        negative = under.exists & (under.target <= 0)
        weighed = logit if under.log_weight is None else logit + under.log_weight
        weighed = weighed.masked_fill(~negative, -torch.inf)
        largest, place = weighed.max(1)
        denominator = largest if self.hard else weighed.logsumexp(1)
        loss = positive + denominator - omega.gather(1, place[:, None])[:, 0]
        return loss, (weight * tau).sum(1) / mass
