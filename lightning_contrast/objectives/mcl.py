"""Contrast within clusters of what is already learnt."""

from torch import Tensor

from lightning_contrast.contrast import Contrast, Pair, pair_function
from lightning_contrast.objectives.infonce import InfoNCE


@pair_function(swappable=True)
def other_cluster(pair: Pair) -> Tensor:
    """Negatives of another pseudo-label (payload ``cluster``) than the anchor's; those < 0 are not known."""
    a, b = pair.anchor.cluster, pair.candidate.cluster
    return (a != b) & (a >= 0) & (b >= 0) & (pair.target <= 0)


class MCL(InfoNCE):
    """InfoNCE whose negatives share the anchor's pseudo-label, so that features learnt before cannot tell them apart.

    The pseudo-label of a sample is the tuple of its cluster ids in all earlier stages, as one number
    (:func:`lightning_contrast.functional.mixed_radix.mixed_radix`); the final representation joins all stages
    (:func:`lightning_contrast.functional.mixed_radix.join_stages`). Batches drawn cluster by cluster waste nothing; in a
    mixed batch other clusters are excluded here, wherever the payload ``cluster`` comes from: the data, or a callback such
    as ``PrototypeMemory``. A pseudo-label < 0 is not known, and such pairs stay (Zhang et al., "Learning the Unlearned: Mitigating Feature Suppression
    in Contrastive Learning", 2024). One cluster is InfoNCE. Appended blocks without ``cluster`` are refused.

    Sure: high. The authors' merging of labels reads the last stage repeatedly; the tuple is meant.

    Args:
        temperature: a number > 0 or a temperature module.
        similarity: ``None`` is cosine.
        symmetric: also the other direction, for pairs.

    Raises:
        KeyError: if the contrast has no ``cluster``.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> c = Contrast.from_pairs(torch.eye(4), torch.eye(4), cluster=torch.tensor([0, 0, 1, 1]))
        >>> round(MCL(temperature=1.0)(c).item(), 5)
        0.31326
    """

    def prepare(self, contrast: Contrast) -> Contrast:
        """Other clusters excluded; they are read when the contrast is scored, after all callbacks."""
        return super().prepare(contrast.exclude(other_cluster))
