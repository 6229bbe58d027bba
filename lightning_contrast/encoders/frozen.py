"""A teacher that stays what it is."""

from torch import nn

from lightning_contrast.encoders.encoder import EncoderLike
from lightning_contrast.encoders.teacher import Teacher


class Frozen(Teacher):
    """The network as it was when training started (``init_from`` included), or another one; always in evaluation mode.

    Args:
        encoder: another network, inputs to embeddings, such as ``ModuleEncoder`` with pretrained weights; ``None`` copies
            encoder and head.
    """

    def __init__(self, encoder: EncoderLike | None = None) -> None:
        super().__init__()
        self.given = encoder is not None
        self.copied = encoder
        self.train()
        self.freeze()

    def follow(self, online: nn.Module) -> None:
        """Copies, unless another network was given."""
        if not self.given:
            super().follow(online)
            self.train()

    def train(self, mode: bool = True) -> "Frozen":
        """Stays in evaluation mode."""
        super().train(False)
        return self
