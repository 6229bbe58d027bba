"""A retriever that learns from a ranker, and a ranker that learns on what the retriever finds."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast, Scores, Similarity, evaluate
from lightning_contrast.contrast.similarity import Embedding
from lightning_contrast.objectives.infonce import InfoNCE
from lightning_contrast.objectives.two_players import TwoPlayerObjective
from lightning_contrast.similarities import Interaction
from lightning_contrast.temperatures import TemperatureModule


class Ranker(Interaction):
    """Scores a query and a document by a small network on both unit vectors: a stand-in for a cross-encoder."""

    def prepare(self, z: Embedding) -> Embedding:
        """Rows of unit length."""
        return z if isinstance(z, tuple) else F.normalize(z if z.element_size() >= 4 else z.float(), dim=-1)


class RetrieverRanker(TwoPlayerObjective):
    """``lambda L_adv + (1 - lambda) L_distil`` of the retriever; cross-entropy of the ranker, trained in turn.

    On the list of an anchor (its positive and what was mined for it) ``p`` is the softmax of the retriever's scores and ``r``
    are the ranker's, constants: ``L_adv = sum_j log sigma(r_0 - r_j) log p_j`` moves mass to documents that the ranker takes
    for better than the positive, which is where the next negatives come from; ``L_distil = -sum_j softmax(r / T)_j log p_j``
    (Zhang et al., "Adversarial Retriever-Ranker for dense text retrieval", ICLR 2022, eq. 5 to 8). The ranker is the
    opponent of an ``AlternatingModule``: it learns to pick the positive of the same lists.

    Args:
        dim: width of the embeddings.
        adversarial: ``lambda`` in [0, 1]; 0 is distillation alone.
        ranker_temperature: ``T`` > 0.
        hidden: of the ranker, >= 1.
        temperature: of the retriever, a number > 0 or a temperature module.
        similarity: of the retriever; ``None`` is cosine.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> loss = RetrieverRanker(dim=2)(Contrast.from_pairs(eye, eye))
    """

    opponent: Ranker

    def __init__(
        self,
        dim: int,
        adversarial: float = 0.5,
        ranker_temperature: float = 1.0,
        hidden: int = 128,
        temperature: float | TemperatureModule = 0.05,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if not 0 <= adversarial <= 1:
            raise ValueError(f"adversarial={adversarial}: must lie in [0, 1].")
        if not 0 < ranker_temperature < float("inf"):
            raise ValueError(f"ranker_temperature={ranker_temperature}: must be a finite number > 0.")
        self.adversarial, self.ranker_temperature = adversarial, ranker_temperature
        self.opponent = Ranker(dim, hidden)

    def rows(self, scores: Scores) -> tuple[Tensor, dict[str, Tensor]]:
        """``[n]``, and its two parts."""
        ranked = scores.under(self.opponent).similarity.detach().to(scores.logit.dtype)
        terms = (scores.logit, ranked, scores.target, scores.exists, self.ranker_temperature)
        adversarial, distilled = retriever_term("adversarial", *terms), retriever_term("distilled", *terms)
        loss = self.adversarial * adversarial + (1 - self.adversarial) * distilled
        return loss, {"adversarial": adversarial.detach(), "distilled": distilled.detach()}

    def opponent_loss(self, contrast: Contrast) -> Tensor:
        """``-log softmax(r)`` of the positive."""
        ready = contrast.replace(similarity=self.opponent, temperature=1.0)
        return evaluate(ready, InfoNCE(1.0).rows, params=self.opponent.parameters()).loss


def retriever_term(
    which: Literal["adversarial", "distilled"],
    logit: Tensor,
    ranked: Tensor,
    target: Tensor,
    exists: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """One of the retriever's two losses, ``[n]``; all inputs are ``[n, m]``.

    Example:
        >>> r, s = torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.0]])
        >>> first, all_of_them = torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3, dtype=torch.bool)
        >>> round(retriever_term("adversarial", s, r, first, all_of_them).item(), 5)
        1.05453
    """
    log_p = logit.masked_fill(~exists, -torch.inf).log_softmax(1).masked_fill(~exists, 0.0)
    if which == "adversarial":
        positive = (target * ranked).sum(1, keepdim=True) / target.sum(1, keepdim=True)
        return (F.logsigmoid(positive - ranked).masked_fill(~exists, 0.0) * log_p).sum(1)
    return -((ranked / temperature).masked_fill(~exists, -torch.inf).softmax(1) * log_p).sum(1)
