"""Embeddings of latent codes as cluster centroids: the clustering terms of C3-GAN."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import gather_rows
from lightning_contrast.objectives.samples import all_views
from lightning_contrast.regularisers.regulariser import Regulariser


class LatentCodes(Regulariser):
    r"""``information * CE(cos(f(G(y)), c) / t, y) + entropy * (mean_i H(p_i) - H(mean_i p_i))``, with code embeddings ``c``.

    Kim and Ha, "Contrastive Fine-grained Class Clustering via Generative Adversarial Networks" (ICLR 2022). Generated
    samples carry the payload ``code``, the code ``y`` that they were made from; real ones have -1, or no payload at all.
    :math:`p_i` is the softmax of a real sample's cosines to the codes: sure of one code, all codes used. A sample's
    cluster is :meth:`assign`. The contrast of real samples is the objective beside it (InfoNCE); the generator and the
    adversarial losses are no part of this.

    Sure: high for these terms.

    Args:
        weight: of the whole.
        codes: number of codes, >= 2; more than classes is allowed.
        dim: width of the embeddings.
        information: weight of the cross-entropy of generated samples, >= 0 (5 for whole pictures, 1 for masked ones).
        entropy: weight of the entropies, >= 0.
        temperature: > 0.

    Raises:
        ValueError: for a value out of range.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> term = LatentCodes(codes=2, dim=2, information=1.0)
        >>> _ = term.codes.data.copy_(torch.eye(2))
        >>> made = Contrast.from_views(torch.eye(2)[None], code=torch.arange(2))
        >>> round(term(made).item(), 7)                                       # log(1 + exp(-10))
        4.54e-05
    """

    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        weight: float = 1.0,
        codes: int = 20,
        dim: int = 128,
        information: float = 5.0,
        entropy: float = 0.1,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(weight)
        if codes < 2 or dim < 1:
            raise ValueError(f"codes={codes}, dim={dim}: at least 2 codes and 1 dimension.")
        if min(information, entropy) < 0 or not temperature > 0:
            raise ValueError(
                f"information={information}, entropy={entropy}, temperature={temperature}: weights are >= 0, the "
                "temperature > 0."
            )
        self.codes = nn.Parameter(torch.randn(codes, dim))
        self.information, self.entropy, self.temperature = information, entropy, temperature

    def logits(self, z: Tensor) -> Tensor:
        """Cosines of embeddings ``[N, dim]`` to the codes over the temperature, ``[N, codes]``."""
        if z.shape[1] != self.codes.shape[1]:
            raise ValueError(f"dim={self.codes.shape[1]}: the embeddings have {z.shape[1]} columns; set dim to that.")
        return F.normalize(z, dim=1) @ F.normalize(self.codes.to(z.dtype), dim=1).mT / self.temperature

    def assign(self, z: Tensor) -> Tensor:
        """The cluster of each embedding ``[N, dim]``, int64 ``[N]``."""
        return self.logits(z).argmax(1)

    def term(self, contrast: Contrast) -> Tensor:
        """0-d."""
        block = all_views(contrast)
        code = block.payload.get("code", torch.full((block.rows,), -1, device=block.first.device))
        logit = self.logits(block.first)
        if contrast.exchange != "none":
            logit, code = gather_rows(logit), gather_rows(code)
        if bool((code >= len(self.codes)).any()):
            raise ValueError(f"codes={len(self.codes)}: the batch has the code {int(code.max())}; they count from 0.")
        made = code >= 0
        total = logit.sum() * 0.0
        if bool(made.any()):
            total = total + self.information * F.cross_entropy(logit[made], code[made])
        if not bool(made.all()):
            log_p = logit[~made].log_softmax(1)
            mean = log_p.exp().mean(0)
            each = -(log_p.exp() * log_p).sum(1).mean()
            total = total + self.entropy * (each + (mean * mean.clamp_min(1e-30).log()).sum())
        return total
