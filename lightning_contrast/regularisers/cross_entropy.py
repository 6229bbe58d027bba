"""A classifier on the embeddings."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.regularisers.regulariser import Regulariser


class CrossEntropy(Regulariser):
    """``mean_i -log softmax(W z_i + b)_{y_i}`` of the anchors, where a method learns from labels too.

    The linear layer is trained with the module and finds its width from the first embeddings.

    Args:
        classes: >= 2.
        weight: >= 0.
        key: payload with the classes, int64 ``[N]``, from 0; a negative class is left out.

    Raises:
        ValueError: for fewer classes, or a class beyond them.
        KeyError: if the contrast has no such payload.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> c = Contrast.from_views(torch.zeros(2, 3, 4), label=torch.tensor([0, 1, 1]))
        >>> term = CrossEntropy(classes=2)
        >>> _ = term(c), term.linear.bias.data.zero_()
        >>> round(term(c).item(), 5)
        0.69315
    """

    requires: ClassVar[tuple[str, ...]] = ("label",)

    def __init__(self, classes: int, weight: float = 1.0, key: str = "label") -> None:
        super().__init__(weight)
        if classes < 2:
            raise ValueError(f"classes={classes}: at least 2.")
        self.classes, self.key = classes, key
        self.requires = (key,)  # type: ignore[misc]
        self.linear = nn.LazyLinear(classes)

    def term(self, contrast: Contrast) -> Tensor:
        """0-d, ``>= 0``."""
        z, label = contrast.anchors.first, contrast.anchors.get(self.key)
        if z.device.type == "cpu" and len(label) and int(label.max()) >= self.classes:
            raise ValueError(f"CrossEntropy(classes={self.classes}): {self.key!r} goes up to {int(label.max())}.")
        logits = self.linear(z if z.element_size() >= 4 else z.float())
        total = F.cross_entropy(logits, label.clamp(min=-1), reduction="sum", ignore_index=-1)
        count = (label >= 0).sum().to(total.dtype)
        if contrast.exchange == "none":
            return total / count.clamp(min=1)
        return total * world_size() / all_sum(count).clamp(min=1)
