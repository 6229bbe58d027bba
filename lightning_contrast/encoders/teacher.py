"""The role of a teacher: embeddings to compare with, that no gradient trains."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from lightning_contrast.encoders.encoder import Encoder


class Teacher(Encoder):
    """Read by :meth:`embed`, whatever it is: a copy of the network (of now, of a moving average, of an earlier task), or
    vectors made beforehand.

    As ``key_encoder`` of a ``ContrastiveModule`` it makes the keys. In a ``TeacherEmbedding`` callback its embedding of
    each sample travels as payload. ``module.teacher`` is the one in use. The module tells it when training starts, after
    each optimizer step, and when epochs and fits end; subclasses override what concerns them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copied: nn.Module | None = None
        # Layers that learn their width from a checkpoint are made anew by it, trainable.
        self.register_load_state_dict_post_hook(lambda module, _: module.freeze())

    @property
    def ready(self) -> bool:
        """Whether it has anything to teach yet."""
        return self.copied is not None

    @torch.no_grad()
    def embed(self, inputs: Any, index: Tensor | None = None) -> Tensor:
        """The teacher's embeddings ``[N, D]`` of samples: of their ``inputs``, or by their ``index`` ``[N]``."""
        return self(inputs)

    def forward(self, x: Any) -> Tensor:
        """Embeddings ``[N, D]`` of inputs; no gradient flows."""
        if self.copied is None:
            raise RuntimeError(
                f"{type(self).__name__} has nothing to follow yet: give it to ContrastiveModule(key_encoder=...) or to "
                "TeacherEmbedding."
            )
        with torch.no_grad():
            return self.copied(x)

    def follow(self, online: nn.Module) -> None:
        """Become a frozen copy of ``online``, encoder and head, before training."""
        # torch copies parameters without a shape yet, but not buffers.
        lazy: dict[int, Any] = {id(b): UninitializedBuffer() for b in online.buffers() if is_lazy(b)}
        self.copied = copy.deepcopy(online, lazy)
        self.freeze()

    def freeze(self) -> None:
        """No gradient for the teacher; layers that do not know their width yet are frozen once they do."""
        for p in self.parameters():
            if not is_lazy(p):
                p.requires_grad_(False)

    def after_step(self, online: nn.Module, step: int, steps: float) -> None:
        """After optimizer step ``step`` of ``steps`` planned."""

    def before_epoch(self, online: nn.Module, epoch: int) -> None:
        """Before epoch number ``epoch``, from 0."""

    def after_fit(self, online: nn.Module) -> None:
        """When ``fit`` has ended."""
