"""Cosine around a centre other than the origin."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Cosine
from lightning_contrast.contrast.similarity import Embedding


class MeanShifted(Cosine):
    """Cosine of ``theta = (phi - c) / ||phi - c||``, ``phi`` the unit embedding and ``c`` a fixed centre.

    Args:
        dim: width of the embeddings, >= 1; ``None``: that of the features that give the centre.
        unit_centre: the centre is brought to unit length when it is set.

    Raises:
        ValueError: for ``dim < 1``; when used before :meth:`set_centre`.

    Example:
        >>> sim = MeanShifted(2)
        >>> sim.set_centre(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> sim.prepare(torch.eye(2))
        tensor([[ 0.7071, -0.7071],
                [-0.7071,  0.7071]])
    """

    centre: Tensor
    ready: Tensor

    def __init__(self, dim: int | None = None, unit_centre: bool = False) -> None:
        super().__init__()
        if dim is not None and dim < 1:
            raise ValueError(f"dim={dim}: the width of the embeddings, at least 1.")
        self.unit_centre = unit_centre
        self.register_buffer("centre", torch.zeros(dim or 0))
        self.register_buffer("ready", torch.tensor(False))

    @torch.no_grad()
    def set_centre(self, features: Tensor) -> None:
        """The mean of the unit features ``[N, dim]`` of the training set, by the encoder before it is trained."""
        width = len(self.centre) or features.shape[-1]
        if features.dim() != 2 or features.shape[1] != width or not len(features):
            raise ValueError(f"set_centre: features must be [N >= 1, {width}], got {list(features.shape)}.")
        if not len(self.centre):
            self.centre = self.centre.new_zeros(width)
        centre = F.normalize(features.to(self.centre), dim=1).mean(0)
        self.centre.copy_(F.normalize(centre, dim=0) if self.unit_centre else centre)
        self.ready.fill_(True)

    def prepare(self, z: Embedding) -> Embedding:
        """Unit length, minus the centre, unit length."""
        if isinstance(z, tuple):
            raise TypeError("MeanShifted compares single tensors: the embeddings are tuples.")
        if not bool(self.ready):
            raise ValueError(
                "MeanShifted has no centre yet: call set_centre(features) with the training set's features before the "
                "first step."
            )
        return self._unit(self._unit(z) - self.centre.to(z.dtype))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        """A centre whose width is not known yet takes the saved one's."""
        saved = state_dict.get(f"{prefix}centre")
        if saved is not None and not len(self.centre):
            self.centre = self.centre.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
