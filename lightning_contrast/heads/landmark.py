"""How well an embedding goes with a few stored ones."""

from typing import Literal

import torch
from torch import Tensor

from lightning_contrast.heads.head import Head, at_least_one


class LandmarkHead(Head):
    """``phi(x) = (g(x, z_1), ..., g(x, z_m))`` with the odds ``g = exp(<x, z> / temperature + bias)``.

    If ``g`` is the density ratio of two views (:class:`PairDiscriminator`), a linear function of ``phi`` predicts nearly
    as well as the best of all predictors, wherever either view alone would do (Tosh et al. 2021, theorem 3). Landmarks are
    embeddings of unlabelled second views; they are stored by :meth:`remember`, and part of the state.

    Sure: medium: how ratios are clipped is ours.

    Args:
        landmarks: ``m``, >= 1; as many as there are latent classes suffice.
        dim: width of the embeddings.
        temperature: as in training, > 0.
        bias: as in training.
        kind: ``odds``, or their ``log``, which is linear in ``x``.
        limit: odds are cut to ``[1 / limit, limit]``, > 1.

    Raises:
        ValueError: for numbers out of range, other numbers of landmarks, or none stored yet.

    Example:
        >>> head = LandmarkHead(landmarks=2, dim=2)
        >>> head.remember(torch.eye(2))
        >>> head(torch.zeros(1, 2))
        tensor([[1., 1.]])
    """

    landmark: Tensor
    stored: Tensor

    def __init__(
        self,
        landmarks: int,
        dim: int,
        temperature: float = 1.0,
        bias: float = 0.0,
        kind: Literal["odds", "log"] = "odds",
        limit: float = 1e4,
    ) -> None:
        super().__init__()
        if kind not in ("odds", "log"):
            raise ValueError(f"kind={kind!r}: use 'odds' or 'log'.")
        if not 0 < temperature < float("inf") or not 1 < limit < float("inf"):
            raise ValueError(f"temperature={temperature}, limit={limit}: need finite numbers > 0 and > 1.")
        self.output_dim = at_least_one(landmarks, "landmarks")
        self.temperature, self.bias, self.kind = float(temperature), float(bias), kind
        self.limit = float(limit)
        self.register_buffer("landmark", torch.zeros(landmarks, at_least_one(dim, "dim")))
        self.register_buffer("stored", torch.tensor(False))

    @torch.no_grad()
    def remember(self, z: Tensor) -> None:
        """Store the landmarks' embeddings ``[m, D]``."""
        if z.shape != self.landmark.shape:
            raise ValueError(f"remember: landmarks must be {list(self.landmark.shape)}, got {list(z.shape)}.")
        self.landmark.copy_(z)
        self.stored.fill_(True)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., D] -> [..., m]``."""
        if not bool(self.stored):
            raise ValueError("LandmarkHead has no landmarks yet: call remember(embeddings of some second views).")
        limit = torch.tensor(self.limit, dtype=x.dtype, device=x.device).log()
        logit = x @ self.landmark.to(x.dtype).mT / self.temperature + self.bias
        logit = logit.clamp(-limit, limit)
        return logit.exp() if self.kind == "odds" else logit
