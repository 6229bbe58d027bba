"""Channels whitened over the batch, in groups drawn anew."""

import torch
from torch import Tensor

from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.inverse_root import inverse_root
from lightning_contrast.transforms.transform import Transform


class GroupWhitening(Transform):
    """ZCA whitening of groups of channels, each view in its own random groups (Zhuo et al. 2023, WhitenedCSE, section 3.2).

    Of each view the channels are permuted and cut into ``groups``; in each, embeddings lose their mean and are multiplied by
    ``(C + eps I)^(-1/2)``, ``C`` the covariance over the batch; then the channels go back to their places. Views that share
    a text are then whitened in different ways, which makes several positives. One group without shuffling is whitening,
    as many groups as channels standardisation.

    Permutations are a function of seed, step and view, so that processes share them and a resumed run goes on.

    Args:
        groups: of channels, >= 1, dividing the width; 128 of 768 in the paper.
        shuffle: whether channels are permuted.
        eps: added to the eigenvalues, > 0.
        across_ranks: statistics of the batches of all processes; ``False`` where ``exchange="none"``.
        seed: of the permutations.

    Raises:
        ValueError: for values out of range; in use for a width that ``groups`` does not divide, or
            a batch of no more rows than a group has channels.

    Example:
        >>> z = torch.randn(3, 32, 8)
        >>> GroupWhitening(groups=2)(z).shape
        torch.Size([3, 32, 8])
    """

    step: Tensor

    def __init__(
        self, groups: int = 16, shuffle: bool = True, eps: float = 1e-5, across_ranks: bool = True, seed: int = 0
    ) -> None:
        super().__init__()
        if groups < 1 or not 0 < eps < float("inf"):
            raise ValueError(f"groups={groups}, eps={eps}: need groups >= 1 and eps > 0.")
        self.groups, self.shuffle, self.eps, self.across_ranks, self.seed = groups, shuffle, eps, across_ranks, seed
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor) -> Tensor:
        """``[V, N, D]``, float32 or wider."""
        z = z if z.element_size() >= 4 else z.float()
        d = z.shape[-1]
        if d % self.groups:
            raise ValueError(f"GroupWhitening(groups={self.groups}) got embeddings of width {d}: give a divisor of it.")
        if not self.shuffle:
            return torch.stack([self.whitened(view) for view in z])
        order = self._orders(len(z), d, z.device)
        if self.training:
            self.step += 1
        return torch.stack([self.whitened(v[:, o])[:, o.argsort()] for v, o in zip(z, order, strict=True)])

    def _orders(self, views: int, d: int, device: torch.device) -> Tensor:
        u = counter_uniform(torch.arange(views, device=device), d, seed=self.seed, epoch=int(self.step))
        return u.argsort(dim=1)

    def whitened(self, z: Tensor) -> Tensor:
        """One view, ``[N, D]``, groups of consecutive channels."""
        x = z.unflatten(1, (self.groups, -1)).transpose(0, 1)
        everybody = (gather_rows(z) if self.across_ranks else z).unflatten(1, (self.groups, -1)).transpose(0, 1)
        if self.training and everybody.shape[1] <= x.shape[-1]:
            raise ValueError(
                f"GroupWhitening(groups={self.groups}) whitens {x.shape[-1]} channels at a time by {everybody.shape[1]} rows: use "
                "more groups or larger batches."
            )
        mean = everybody.mean(1, keepdim=True)
        centred = everybody - mean
        covariance = centred.mT @ centred / centred.shape[1]
        root = inverse_root(covariance + self.eps * torch.eye(x.shape[-1], device=z.device, dtype=z.dtype))
        return ((x - mean) @ root).transpose(0, 1).flatten(1)
