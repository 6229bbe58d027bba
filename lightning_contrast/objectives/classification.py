"""A linear classifier on the embeddings, for what stands beside it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.objectives.objective import Objective


class Classification(Objective):
    """Mean cross-entropy of a linear classifier of the embeddings: no contrast, but the loss that one is compared with.

    Negative labels mean "unlabelled": such rows are left out of the sum, not of the count. The linear layer is trained with
    the module and finds its width from the first embeddings.

    Args:
        classes: how many, >= 2; labels run from 0.
        key: payload of labels, int64 ``[N]``.
        mixed_key: payload of the labels of all views but the first, where a batch has it (pictures mixed with others').

    Raises:
        ValueError: for less than two classes, or a label beyond them.
        KeyError: if the contrast has no such payload.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> objective = Classification(classes=3)
        >>> c = Contrast.from_views(torch.zeros(2, 3, 4), label=torch.arange(3))
        >>> bias = objective(c) and objective.linear.bias
        >>> torch.isclose(objective(c), -torch.log_softmax(bias, 0).mean()).item()
        True
    """

    needs = frozenset()
    requires = ("label",)

    def __init__(self, classes: int, key: str = "label", mixed_key: str = "mixed_label") -> None:
        super().__init__(temperature=1.0)
        if classes < 2:
            raise ValueError(f"classes={classes}: must be at least 2.")
        self.classes, self.key, self.mixed_key = classes, key, mixed_key
        self.requires = (key,)  # type: ignore[misc]
        self.linear = nn.LazyLinear(classes)

    def prepare(self, contrast: Contrast) -> Contrast:
        """Every row's loss travels with it."""
        contrast = super().prepare(contrast)
        contrast.anchors.get(self.key)
        return contrast.map_own(self._classified)

    def _classified(self, block: Candidates) -> Candidates:
        label = block.get(self.key)
        if label.device.type == "cpu" and len(label) and int(label.max()) >= self.classes:
            raise ValueError(f"classes={self.classes}: batch[{self.key!r}] has a label {int(label.max())}.")
        if self.mixed_key in block.payload:
            label = torch.where(block.get("view") > 0, block.get(self.mixed_key), label)
        logit = self.linear(block.first.to(self.linear.weight.dtype))
        logit = logit.float() if logit.dtype.itemsize < 4 else logit
        shape = label.shape
        loss = F.cross_entropy(logit.flatten(0, -2), label.flatten(), ignore_index=-1, reduction="none")
        return block.attach(classification_loss=loss.reshape(shape))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        return scores.anchor.classification_loss
