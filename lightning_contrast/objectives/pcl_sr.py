"""PCL-SR: a restored image near sharp copies of the truth, away from blurred ones, in a critic's feature maps."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores, Similarity
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.temperatures import TemperatureModule


def feature_contrasts(
    output: Sequence[Tensor], positives: Sequence[Tensor], negatives: Sequence[Tensor], shared: bool = False
) -> list[Contrast]:
    """One contrast a layer of a critic: feature maps of the outputs against those of their positives and negatives.

    A map is brought to unit length place by place and laid out as one vector; the cosine of two such vectors is the mean
    over places of the places' cosines. Positives and negatives are constants.

    Args:
        output: of each layer, ``[N, C, H, W]``.
        positives: of each layer, ``[N, P, C, H, W]``: the truth and sharpened copies.
        negatives: of each layer, ``[N, M, C, H, W]``: blurred copies, the upsampled input.
        shared: whether the negatives of all images of the batch are everybody's.

    Raises:
        ValueError: for other numbers of layers or shapes.
    """
    if not len(output) == len(positives) == len(negatives) > 0:
        raise ValueError(
            f"feature_contrasts: {len(output)} layers of outputs, {len(positives)} of positives, {len(negatives)} of "
            "negatives; one of each a layer."
        )
    contrasts = []
    for layer, (y, near, far) in enumerate(zip(output, positives, negatives, strict=True)):
        if y.dim() != 4 or any(t.dim() != 5 or (len(t), *t.shape[2:]) != y.shape for t in (near, far)):
            raise ValueError(
                f"feature_contrasts: layer {layer} has maps {list(y.shape)}, positives {list(near.shape)} and negatives "
                f"{list(far.shape)}: need [N, C, H, W], [N, P, C, H, W] and [N, M, C, H, W]."
            )
        n, p = near.shape[:2]
        position = torch.arange(n, device=y.device)
        anchors = Candidates(_flat(y), {"position": position}, name="output")
        own = position[:, None].expand(n, p)
        blocks = [Candidates(_flat(near.detach()), {"position": own}, name="sharp", where="private")]
        z = _flat(far.detach())
        blocks.append(
            Candidates(z.flatten(0, 1), name="blurred") if shared else Candidates(z, name="blurred", where="private")
        )
        contrasts.append(Contrast(anchors, tuple(blocks), name=f"layer{layer}"))
    return contrasts


def _flat(maps: Tensor) -> Tensor:
    return F.normalize(maps, dim=-3).flatten(-3)


class PCLSR(Objective):
    r"""``-mean_p log( e^{s_p / tau} / (e^{s_p / tau} + sum_n e^{s_n / tau}) )`` over the positives ``p`` of an output.

    Each positive meets all negatives, not the other positives; the mean is over positives, outputs and layers (Wu et al.
    2021, PCL-SR). Give the list that :func:`feature_contrasts` makes. Views and pairs serve as well. The gradient reaches
    the outputs alone; the critic is trained by a loss of its own.

    Sure: medium. The loss is the authors' for fixed features; which features, the abstract's.

    Args:
        temperature: a number > 0 or a temperature module; the authors have none (1).
        similarity: ``None`` is cosine.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> eye = torch.eye(2)
        >>> round(PCLSR()(Contrast.from_pairs(eye, eye)).item(), 5)          # one positive: InfoNCE
        0.31326
    """

    def __init__(self, temperature: float | TemperatureModule = 1.0, similarity: Similarity | None = None) -> None:
        super().__init__(temperature, similarity)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        negative = scores.logsumexp("negatives")
        each = scores.sum(lambda logit, lse: F.softplus(lse - logit), negative, over="positives")
        return each / scores.count("positives")
