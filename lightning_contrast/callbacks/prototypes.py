"""A few vectors that stand for many: what prototype memories hold."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.functional.kmeans import nearest_centroid
from lightning_contrast.functional.sinkhorn import sinkhorn

Assign = Literal["nearest", "sinkhorn", "label"]


class Prototypes:
    """``K`` vectors, each the mean of the rows assigned to it, as ``momentum`` remembers them.

    Args:
        number: ``K``, >= 1.
        momentum: ``p <- m p + (1 - m) mean`` of a step's rows, in [0, 1); a prototype's first mean is taken as it is.
            ``None``: online k-means, the mean of all rows ever assigned (Sculley 2010).
        epsilon: of Sinkhorn.
        iterations: of Sinkhorn.

    Raises:
        ValueError: for values out of range.
    """

    def __init__(self, number: int, momentum: float | None, epsilon: float = 0.05, iterations: int = 3) -> None:
        if number < 1:
            raise ValueError(f"prototypes={number}: must be at least 1.")
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f"momentum={momentum}: must lie in [0, 1), or None for online k-means; 0.99 is usual.")
        if not epsilon > 0 or iterations < 1:
            raise ValueError(f"epsilon={epsilon}, iterations={iterations}: need epsilon > 0 and iterations >= 1.")
        self.number, self.momentum, self.epsilon, self.iterations = number, momentum, epsilon, iterations
        self.z: Tensor | None = None
        """``[K, D]``; those never seen are zero."""
        self.count = torch.zeros(number, dtype=torch.int64)
        """``[K]``: rows ever assigned; 0 for a prototype that is not known."""

    @property
    def known(self) -> Tensor:
        """Which prototypes there are. Bool ``[K]``."""
        return self.count > 0

    def check_width(self, z: Tensor, who: str) -> None:
        """Raise unless rows fit the prototypes.

        Raises:
            ValueError: for embeddings that are no matrix, or of another width.
        """
        if z.dim() != 2:
            raise ValueError(f"{who} holds single embeddings [N, D], but these are {list(z.shape)}.")
        if self.z is not None and self.z.shape[1] != z.shape[1]:
            raise ValueError(
                f"{who} holds prototypes of width {self.z.shape[1]}, the embeddings have {z.shape[1]}: the checkpoint was "
                "made with another head or encoder. Use that one, or start without the checkpoint (init_from takes its "
                "weights only)."
            )

    def to(self, device: torch.device) -> None:
        """Move, where they are elsewhere."""
        if self.z is not None and self.z.device != device:
            self.z = self.z.to(device)
        self.count = self.count.to(device)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The known prototype of the largest cosine to each row ``z [N, D]``, -1 while there is none. int64 ``[N]``."""
        if self.z is None or not bool(self.known.any()):
            return torch.full((len(z),), -1, dtype=torch.int64, device=z.device)
        self.to(z.device)
        rows = self.known.nonzero().squeeze(1)
        return rows[nearest_centroid(F.normalize(z.to(self.z.dtype), dim=1), F.normalize(self.z[rows], dim=1))[1]]

    @torch.no_grad()
    def balanced(self, z: Tensor) -> Tensor:
        """The largest entry of each row's Sinkhorn code: prototypes share the rows equally. int64 ``[N]``."""
        if self.z is None or not bool(self.known.all()):
            return self.nearest(z)
        self.to(z.device)
        cosine = F.normalize(z.to(self.z.dtype), dim=1) @ F.normalize(self.z, dim=1).mT
        return sinkhorn(cosine, self.epsilon, self.iterations).argmax(1)

    @torch.no_grad()
    def assign(self, z: Tensor, how: Assign, label: Tensor | None = None) -> Tensor:
        """The prototype each row belongs to, -1 for none; rows are the first prototypes until there are ``K``."""
        if how == "label":
            assert label is not None
            return label
        out = torch.full((len(z),), -1, dtype=torch.int64, device=z.device)
        free = (~self.known).nonzero().squeeze(1).to(z.device)[: len(z)]
        out[: len(free)] = free
        rest = z[len(free) :]
        if len(rest) and self.z is not None:
            out[len(free) :] = self.balanced(rest) if how == "sinkhorn" else self.nearest(rest)
        return out

    @torch.no_grad()
    def move(self, z: Tensor, place: Tensor) -> None:
        """Towards the mean of the rows ``z [N, D]`` assigned to each, ``place [N]``; -1 is left out."""
        if self.z is None:
            self.z = z.new_zeros(self.number, z.shape[1], dtype=torch.promote_types(z.dtype, torch.float32))
        self.to(z.device)
        z, place = z[place >= 0].to(self.z.dtype), place[place >= 0]
        here = torch.bincount(place, minlength=self.number)
        mean = torch.zeros_like(self.z).index_add_(0, place, z) / here.clamp(min=1)[:, None]
        total = self.count + here
        if self.momentum is None:
            share = here / total.clamp(min=1)
        else:
            share = torch.where(self.known, 1 - self.momentum, 1.0) * (here > 0)
        self.z = torch.lerp(self.z, mean, share[:, None].to(self.z.dtype))
        self.count = total

    def replace(self, z: Tensor, cluster: Tensor) -> None:
        """Take the centroids ``[K, D]`` of a clustering of rows ``cluster [N]``."""
        self.z, self.count = z.clone(), torch.bincount(cluster, minlength=self.number).clamp(min=1)

    def state_dict(self) -> dict[str, Any]:
        """Vectors and counts."""
        return {"z": self.z, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any], who: str) -> None:
        """As saved.

        Raises:
            ValueError: for a state that is truncated, or of another number of prototypes; nothing is changed then.
        """
        z, count = state.get("z"), state.get("count")
        if not isinstance(count, Tensor) or not (z is None or isinstance(z, Tensor)):
            raise ValueError(f"{who}: the checkpoint's state is no prototypes', or truncated: {sorted(state)}.")
        if len(count) != self.number or (z is not None and (z.dim() != 2 or len(z) != self.number)):
            raise ValueError(
                f"{who}: the checkpoint holds {len(count)} prototypes, now there are {self.number}: keep the number, or start "
                "without the checkpoint."
            )
        if z is None and bool((count > 0).any()):
            raise ValueError(f"{who}: the checkpoint's state is truncated: it counts rows but has no vectors.")
        self.z, self.count = None if z is None else z.detach().clone(), count.detach().clone()
