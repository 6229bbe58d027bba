"""Two halves of a representation, one for a label, one for what is below it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.objectives.objective import Objective


class Disentangled(Objective):
    """``CE(label | common) + weight CE(kind | specific)`` by linear classifiers: no contrast, but the losses that one serves.

    The first half of each embedding is the common part, which tells the label (real or forged), the second the specific
    part, which tells the kind (the forgery's method). The common part is what is compared from here on, the specific one
    travels as payload ``specific``, where regularisers find it (:class:`~lightning_contrast.regularisers.UCF`; Yan et al.,
    ICCV 2023, eq. 4, without its reconstruction).

    Args:
        classes: of the label, >= 2.
        kinds: >= 2.
        weight: of the second term, >= 0; 0.1 in UCF.
        label: payload, int64 ``[N]`` from 0.
        kind: payload, int64 ``[N]`` from 0.

    Raises:
        ValueError: for values out of range, embeddings of odd width, or classes beyond those.
        KeyError: if the contrast has no such payload.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> c = Contrast.from_views(torch.zeros(1, 3, 4), label=torch.zeros(3).long(), method=torch.zeros(3).long())
        >>> halves = Disentangled(classes=2, kinds=4)
        >>> halves.directions(c)[0].anchors.get("specific").shape
        torch.Size([3, 2])
    """

    needs = frozenset()
    provides = ("specific",)

    def __init__(
        self, classes: int = 2, kinds: int = 5, weight: float = 0.1, label: str = "label", kind: str = "method"
    ) -> None:
        super().__init__(temperature=1.0)
        if min(classes, kinds) < 2 or not 0 <= weight < float("inf"):
            raise ValueError(f"classes={classes}, kinds={kinds}, weight={weight}: must be >= 2, >= 2 and >= 0.")
        self.weight, self.label, self.kind = weight, label, kind
        self.common, self.specific = nn.LazyLinear(classes), nn.LazyLinear(kinds)
        self.requires = (label, kind)  # type: ignore[misc]

    def prepare(self, contrast: Contrast) -> Contrast:
        """Halves, and the loss of each row."""
        return super().prepare(contrast.map_own(self._halves))

    def _halves(self, block: Candidates) -> Candidates:
        if block.first.shape[-1] % 2:
            raise ValueError(f"Disentangled halves embeddings, but their width is {block.first.shape[-1]}.")
        z = block.first if block.first.element_size() >= 4 else block.first.float()
        common, specific = z.chunk(2, -1)
        parts = [(self.common(common), self.label), (self.specific(specific), self.kind)]
        losses = [self._loss(logits, block.get(key), key) for logits, key in parts]
        return block.replace(z=common).attach(specific=specific, loss=losses[0] + self.weight * losses[1])

    def _loss(self, logits: Tensor, label: Tensor, key: str) -> Tensor:
        if (
            label.device.type == "cpu"
            and len(label)
            and not 0 <= int(label.min()) <= int(label.max()) < logits.shape[1]
        ):
            raise ValueError(
                f"Disentangled: {key!r} goes from {int(label.min())} to {int(label.max())}, but there are {logits.shape[1]}."
            )
        wide = torch.promote_types(logits.dtype, torch.float32)
        return F.cross_entropy(logits.to(wide), label, reduction="none")

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``, ``>= 0``."""
        return scores.anchor.loss
