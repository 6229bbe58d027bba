"""CQ-DINO: classification against the few classes that a selector keeps."""

import math

import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.functional.focal import asymmetric_loss, focal_loss
from lightning_contrast.heads import PrototypeHead
from lightning_contrast.heads.head import at_least_one
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.proxied import class_vectors
from lightning_contrast.targets.same_label import SameLabel
from lightning_contrast.temperatures import Learnable, TemperatureModule


class CategoryQueries(Objective):
    """Sigmoid focal loss over the ``k`` classes that a selector ranks highest, plus the selector's own loss.

    Logits are ``<o, c> / temperature + bias`` with trained class vectors ``c``. The selector scores every class by
    ``<W o, c> / sqrt(D)``; the true class is always kept. Classes that are not kept have no gradient by the focal loss, so
    that in a vast vocabulary the few that matter are not drowned (Sun et al., "CQ-DINO: Mitigating Gradient Dilution via
    Category Queries for Vast Vocabulary Object Detection", 2025). The selector is trained by an asymmetric multi-label
    loss over all classes.

    Sure: low: a reconstruction from the abstract. The paper's selector attends over an image's tokens and serves all its
    objects; here each row is one object and selects for itself.

    Args:
        classes: ``M``, labels being ``0 .. classes - 1``; unlabelled rows (-1) are left out.
        dim: width of the embeddings.
        k: classes kept for a row, >= 1; with ``k >= classes`` it is full sigmoid classification.
        temperature: ``None``: learnable, from 0.1.
        focus: the focal exponent, >= 0; 0 is binary cross-entropy.
        balance: weight of positives in (0, 1), ``1 - balance`` that of the others; ``None``: 1 and 1.
        selector_weight: of the selector's loss, >= 0.

    Raises:
        ValueError: for numbers out of range, or a label without a class vector.
        KeyError: if the contrast has no ``label``.

    Example:
        >>> import torch
        >>> loss = CategoryQueries(2, 2, k=2, temperature=1.0, focus=0.0, balance=None, selector_weight=0.0)
        >>> _ = loss.classes.weight.data.copy_(torch.eye(2)), loss.bias.data.zero_()
        >>> y = torch.tensor([0, 1])                               # log(1 + 1/e) + log 2
        >>> round(loss(Contrast.from_views(torch.eye(2)[None], label=y)).item(), 5)
        1.00641
    """

    requires = ("label",)

    def __init__(
        self,
        classes: int,
        dim: int,
        k: int = 100,
        temperature: float | TemperatureModule | None = None,
        focus: float = 2.0,
        balance: float | None = 0.25,
        selector_weight: float = 1.0,
    ) -> None:
        super().__init__(Learnable(0.1) if temperature is None else temperature)
        if not 0 <= focus < float("inf") or not 0 <= selector_weight < float("inf"):
            raise ValueError(f"focus={focus}, selector_weight={selector_weight}: must be finite numbers >= 0.")
        if balance is not None and not 0 < balance < 1:
            raise ValueError(f"balance={balance}: must lie in (0, 1), or be None.")
        self.k, self.focus, self.balance = at_least_one(k, "k"), float(focus), balance
        self.selector_weight = float(selector_weight)
        self.classes = PrototypeHead(at_least_one(classes, "classes"), dim)
        self.selector = nn.Linear(dim, dim, bias=False)
        # Every class starts at a probability of 0.01: else the many negatives are all there is at first.
        self.bias = nn.Parameter(torch.tensor(-math.log(99.0)))

    def prepare(self, contrast: Contrast) -> Contrast:
        """Class vectors as candidates, and what the selector compares."""
        vectors = class_vectors(self.classes, contrast, "class")
        z, weight = contrast.anchors.first, self.selector.weight
        with torch.autocast(z.device.type, enabled=False):
            query = self.selector(z.to(weight.dtype)) / z.shape[-1] ** 0.5
        contrast = contrast.replace(
            anchors=contrast.anchors.attach(selection=query),
            candidates=(vectors.attach(selection=self.classes.weight),),
            name="sample->class",
            rules=(),
        )
        return super().prepare(contrast.retarget(SameLabel()))

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        chosen = scores.read(lambda pair: pair.dot("selection"))
        true = scores.target > 0
        keep = self.kept(chosen, true)
        loss = focal_loss(scores.logit + self.bias, true, self.focus, self.balance)
        return (loss * keep).sum(1) + self.selector_weight * asymmetric_loss(chosen, true).sum(1)

    def kept(self, selection: Tensor, true: Tensor) -> Tensor:
        """The ``k`` classes with the highest selection score in each row, the true one among them. Bool ``[n, M]``."""
        ranked = selection.detach().masked_fill(true, torch.inf)
        top = ranked.topk(min(self.k, ranked.shape[1]), dim=1).indices
        return torch.zeros_like(true).scatter(1, top, True)
