"""The held-out advantage of a critic as a Metric."""

from typing import Any

from torch import Tensor

from lightning_contrast.functional.two_sample_critic import Kind, check_critic, critic_divergence
from lightning_contrast.metrics.embedding_metric import EmbeddingMetric


class CriticDivergence(EmbeddingMetric):
    """How well a small network tells generated samples from real ones it was not trained on (ICLR 2019).

    :meth:`update_bank` takes what the critic trains on, :meth:`update` what it is judged on: the two must not overlap.
    See :func:`lightning_contrast.functional.two_sample_critic.critic_divergence`.

    Args:
        kind: ``classifier`` (in nats, at most log 2) or ``wasserstein``.
        hidden: width of the critic.
        steps: of its training.
        penalty: of its gradient, for ``wasserstein``.
        seed: of its first weights.
        kwargs: those of ``torchmetrics.Metric``.

    Returns:
        From ``compute``: 0-d; about 0 (or below) when the two cannot be told apart.

    Example:
        >>> import torch
        >>> metric, real, made = CriticDivergence(hidden=32), torch.zeros(8, 2), torch.ones(8, 2)
        >>> metric.update_bank(real, made)
        >>> metric.update(real, made)
        >>> 0.6 < float(metric.compute()) < 0.6932
        True

    """

    higher_is_better = False
    row_states = ("real", "generated", "held_out", "fresh")

    def __init__(
        self,
        kind: Kind = "classifier",
        hidden: int = 128,
        steps: int = 200,
        penalty: float = 10.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_critic(kind, hidden, steps, penalty)
        self.kind, self.hidden, self.steps, self.penalty, self.seed = kind, hidden, steps, penalty, seed

    def update_bank(self, real: Tensor, generated: Tensor) -> None:
        """Add rows to train on: ``real`` [N, D], ``generated`` [M, D]."""
        self._computed = None
        self.keep_rows(real=real)
        self.keep_rows(generated=generated)

    def update(self, real: Tensor, generated: Tensor) -> None:
        """Add rows to be judged: ``real`` [N, D] held out, ``generated`` [M, D] drawn afresh."""
        self.keep_rows(held_out=real)
        self.keep_rows(fresh=generated)

    def compute(self) -> Tensor:
        """Train the critic and return its advantage."""
        return critic_divergence(
            self.rows("real"),
            self.rows("generated"),
            self.rows("held_out"),
            self.rows("fresh"),
            self.kind,
            self.hidden,
            self.steps,
            self.penalty,
            self.seed,
        ).float()
