"""Space Engage: hard rows against their class's prototype, among rows of similar classes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores, Similarity
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.paired import temperature_of
from lightning_contrast.objectives.samples import all_views
from lightning_contrast.temperatures import TemperatureModule


class SpaceEngage(Objective):
    r"""Mean over classes of ``CE( [cos(r, p_c), cos(r, n_1), ..., cos(r, n_M)] / tau, 0 )`` over the class's anchors.

    (Wang et al., "Space Engage", ICCV 2023.) Rows are labelled embeddings: the pixels of a segmentation network, or
    images. :math:`p_c` is the prototype of class ``c``: of a ``PrototypeMemory(assign="label", append=True)``, else, and
    for a class it does not know yet, the mean of the batch's rows. Anchors are rows of ``c`` whose cosine to
    :math:`p_c` is below ``threshold`` (hard ones), at most ``anchors`` a class. Each gets ``negatives`` rows of other
    classes, a class drawn by the softmax of :math:`\cos(p_c, p_{c'}) / \tau`, then a row of it. Prototypes and negatives
    have no gradient. Rows of label < 0 are left out; with one class the loss is 0. Draws are a function of seed, call
    and sample, so they do not depend on the number of processes.

    Sure: medium. Sampling and loss are the public code's, the agreement of pseudo-labels
    (:func:`lightning_contrast.functional.pseudo_labels.agreeing_labels`) the abstract's.

    Args:
        temperature: a number > 0 or a temperature module.
        threshold: of an anchor's cosine to its prototype; above 1 every row is one.
        anchors: of a class, at most, >= 1.
        negatives: of an anchor, >= 1.
        seed: of the draws.
        similarity: ``None`` is cosine.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> c = Contrast.from_pairs(torch.eye(2), torch.eye(2), label=torch.tensor([0, 1]))
        >>> round(SpaceEngage(threshold=2.0, negatives=1)(c).item(), 4)          # log(1 + exp(-1 / 0.5))
        0.1269
    """

    reduction = "batch"
    needs = frozenset()
    requires = ("label",)

    def __init__(
        self,
        temperature: float | TemperatureModule = 0.5,
        threshold: float = 0.97,
        anchors: int = 256,
        negatives: int = 512,
        seed: int = 0,
        similarity: Similarity | None = None,
    ) -> None:
        super().__init__(temperature, similarity)
        if anchors < 1 or negatives < 1:
            raise ValueError(f"anchors={anchors}, negatives={negatives}: must be at least 1.")
        self.threshold, self.anchors, self.negatives, self.seed = threshold, anchors, negatives, seed
        self.calls = 0
        """Training calls so far: the draws of each are others."""

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """The contrasts as they are; counts the calls in training."""
        if self.training and torch.is_grad_enabled():  # not while widths are being found
            self.calls += 1
        return super().directions(contrast)

    def rows(self, scores: Scores) -> Tensor:
        """The loss, 0-d."""
        contrast = scores.contrast
        block = all_views(contrast)
        z, label = block.first, block.get("label")
        tau = temperature_of(scores)
        if isinstance(tau, Tensor) and tau.dim():
            raise ValueError("SpaceEngage has one temperature for all: a schedule or a learnable one.")
        key = _keys(block)
        order = key.argsort(stable=True)  # the same rows in the same order on any number of processes
        z, label, key = z[order], label[order], key[order]
        classes = label[label >= 0].unique()
        if len(classes) < 2:
            return 0 * z.sum()  # in the graph, since other processes wait in backward
        prototype = self.prototypes(contrast, z, label, classes)
        u = counter_uniform(key, 1 + 2 * self.negatives, seed=self.seed, epoch=self.calls)
        losses = []
        for place, c in enumerate(classes.tolist()):
            chosen = self.hard_rows(z, label == c, prototype[place], u[:, 0])
            if len(chosen):
                negative = self.draw(prototype, place, label, classes, u[chosen, 1:], tau)
                near = (z[chosen] @ prototype[place])[:, None]
                far = (z[chosen, None] * z.detach()[negative]).sum(2)
                logit = torch.cat([near, far], dim=1) / tau
                losses.append((logit.logsumexp(1) - logit[:, 0]).mean())
        return torch.stack(losses).mean() if losses else 0 * z.sum()

    @torch.no_grad()
    def prototypes(self, contrast: Contrast, z: Tensor, label: Tensor, classes: Tensor) -> Tensor:
        """Of the classes of the batch, unit length, ``[C, D]``."""
        mean = torch.stack([z[label == c].mean(0) for c in classes])
        for block in contrast.candidates[1:]:
            if "label" in block.payload and block.where == "replicated" and block.name.startswith("prototype"):
                match = classes[:, None] == block.get("label")
                held = block.first.to(mean.dtype)[match.int().argmax(1)]
                mean = torch.where(match.any(1, keepdim=True), held, mean)
        return F.normalize(mean, dim=1)

    @torch.no_grad()
    def hard_rows(self, z: Tensor, own: Tensor, prototype: Tensor, u: Tensor) -> Tensor:
        """Rows of a class below the threshold; of too many, those of the smallest ``u [R]``."""
        hard = (own & (z @ prototype < self.threshold)).nonzero().squeeze(1)
        return hard[u[hard].argsort(stable=True)[: self.anchors]]

    @torch.no_grad()
    def draw(
        self, prototype: Tensor, place: int, label: Tensor, classes: Tensor, u: Tensor, tau: float | Tensor
    ) -> Tensor:
        """Rows of other classes for each of ``n`` anchors of class number ``place``, ``[n, M]``; ``u: [n, 2 M]``."""
        alike = (prototype @ prototype[place]) / tau
        alike[place] = -torch.inf
        upper = alike.softmax(0).cumsum(0)
        drawn = torch.searchsorted(upper, u[:, : self.negatives].to(upper.dtype).contiguous(), right=True)
        last = len(classes) - 1 if place != len(classes) - 1 else len(classes) - 2  # rounding may leave the sum below 1
        drawn = drawn.clamp(max=last)
        ranked = torch.argsort(label, stable=True)
        begin = torch.searchsorted(label[ranked], classes)
        count = torch.searchsorted(label[ranked], classes, right=True) - begin
        within = (u[:, self.negatives :] * count[drawn]).long().clamp(max=count[drawn] - 1)
        return ranked[begin[drawn] + within]

    def get_extra_state(self) -> Tensor:
        """The number of training calls."""
        return torch.tensor(self.calls)

    def set_extra_state(self, state: Tensor) -> None:
        """As saved."""
        self.calls = int(state)


def _keys(block: Candidates) -> Tensor:
    """A number for each row: of its sample in the data set and view, else of its place in the step."""
    index, view = block.get("index"), block.get("view").clamp(min=0)
    return torch.where(index >= 0, index, block.get("position")) * 8 + view
