"""A variational autoencoder that keeps apart what background and target share, and what only the target has."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Scores
from lightning_contrast.contrast.exchange import all_sizes, gather_rows, in_turn, world_size
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.objectives.two_players import TwoPlayerObjective


def kl_to_normal(mean: Tensor, log_variance: Tensor, variance: Tensor | float = 1.0) -> Tensor:
    """``KL(N(mean, exp(log_variance)) || N(0, variance))``, summed over dimensions. ``[N, D]`` to ``[N]``.

    Example:
        >>> import torch
        >>> kl_to_normal(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)).item()
        2.0
    """
    prior = torch.as_tensor(variance, dtype=mean.dtype, device=mean.device)
    each = (log_variance.exp() + mean.square()) / prior - 1 - log_variance + prior.log()
    return each.sum(1) / 2


class SepVAE(TwoPlayerObjective):
    """``recon + beta_c KL_c + beta_s KL_s(y) + kappa TC + gamma BCE(classifier(s), y)``: two codes of a picture.

    Common code ``c ~ N(0, I)`` of all samples, salient code ``s ~ N(0, I)`` of targets (``y = 1``) and ``N(0, v)``, ``v``
    small, of background, which is decoded with ``s = 0`` (Louiset et al., "SepVAE: a contrastive VAE to separate
    pathological patterns from healthy ones", 2023). ``TC`` is the log density ratio ``log D / (1 - D)`` of ``(c, s)`` and
    ``(c, shuffled s)``, near 0 for independent codes; the discriminator ``D``, a small perceptron, is the opponent
    (``AlternatingModule``), which learns by cross-entropy to tell the two. With ``kappa = gamma = 0`` this is the
    contrastive-analysis VAE.

    Rows of ``Contrast.from_pairs(features, pixels)``: the encoder's features, from which linear layers make both codes, and
    the picture to decode, flattened, in [0, 1]; ``recon`` is the binary cross-entropy summed over pixels. Noise is drawn by
    sample and step, so that runs on several processes and resumed ones draw alike; evaluation takes the means.

    Sure: medium.

    Args:
        pixels: of a picture, >= 1.
        common: width of ``c``, >= 1.
        salient: width of ``s``, >= 1.
        hidden: width of the decoder's and the discriminator's hidden layer, >= 1.
        beta_common: weight of ``KL_c``, >= 0.
        beta_salient: weight of ``KL_s``, >= 0.
        kappa: weight of ``TC``, >= 0.
        gamma: weight of the classifier, >= 0.
        background_variance: ``v``, > 0.
        key: payload that says which samples are targets.
        seed: of the noise.

    Raises:
        ValueError: for values out of range, or pictures of another size.
        KeyError: if the contrast has no such payload.
    """

    needs = frozenset()
    step: Tensor

    def __init__(
        self,
        pixels: int = 784,
        common: int = 32,
        salient: int = 16,
        hidden: int = 256,
        beta_common: float = 1.0,
        beta_salient: float = 1.0,
        kappa: float = 1.0,
        gamma: float = 10.0,
        background_variance: float = 0.01,
        key: str = "label",
        seed: int = 0,
    ) -> None:
        super().__init__(temperature=1.0)
        weights = {"beta_common": beta_common, "beta_salient": beta_salient, "kappa": kappa, "gamma": gamma}
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: a weight must be a finite number >= 0.")
        if min(pixels, common, salient, hidden) < 1 or not 0 < background_variance < float("inf"):
            raise ValueError(
                f"pixels={pixels}, common={common}, salient={salient}, hidden={hidden}, background_variance="
                f"{background_variance}: widths must be >= 1, the variance > 0."
            )
        self.weights, self.variance, self.key, self.seed = weights, background_variance, key, seed
        self.widths, self.requires = (common, salient), (key,)  # type: ignore[misc]
        self.codes = nn.LazyLinear(2 * (common + salient))
        both = common + salient
        self.decoder = nn.Sequential(nn.Linear(both, hidden), nn.ReLU(), nn.Linear(hidden, pixels))
        self.classifier = nn.Linear(salient, 1)
        self.opponent = nn.Sequential(nn.Linear(both, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def prepare(self, contrast: Contrast) -> Contrast:
        """Both codes of each row, and its terms, as payload."""
        first, pixels = contrast.candidates[0], self.decoder[-1].out_features
        if contrast.is_self or first.where == "private" or first.first.shape[1:] != (pixels,):
            raise ValueError(
                f"SepVAE(pixels={pixels}) decodes pictures: Contrast.from_pairs(features, pixels [N, {pixels}]), as "
                f"key_encoder=ModuleEncoder('torch.nn.Flatten') makes them; got {list(first.first.shape)}."
            )
        own = self._coded(contrast.anchors, first.first)
        first = first.replace(z=own.first.detach())  # nothing is compared with the picture but what is decoded
        if self.training and torch.is_grad_enabled():
            self.step += 1
        return super().prepare(contrast.replace(anchors=own, candidates=(first,)))

    def _coded(self, block: Candidates, picture: Tensor) -> Candidates:
        y = (block.get(self.key) > 0).to(picture.dtype)
        c, s, kl_c, kl_s = self._sampled(block, y)
        kept = s * y[:, None]  # background is decoded without a salient part
        logits = self.decoder(torch.cat([c, kept], 1)).to(picture.dtype)
        recon = F.binary_cross_entropy_with_logits(logits, picture, reduction="none").sum(1)
        ratio = self.asked(torch.cat([c, s], 1))[:, 0].to(picture.dtype)
        guess = F.binary_cross_entropy_with_logits(self.classifier(s)[:, 0].to(picture.dtype), y, reduction="none")
        terms = {"recon": recon, "beta_common": kl_c, "beta_salient": kl_s, "kappa": ratio, "gamma": guess}
        return block.attach(common=c, salient=s, **terms)

    def _sampled(self, block: Candidates, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        made = self.codes(block.first).to(y.dtype)
        mean, log_variance = made.chunk(2, 1)
        log_variance = log_variance.clamp(-10, 10)
        z = mean
        if self.training:
            index = torch.where(block.get("index") < 0, block.get("position"), block.get("index"))
            u = counter_uniform(index, sum(self.widths), seed=self.seed, epoch=int(self.step)).clamp(1e-6, 1 - 1e-6)
            z = mean + (log_variance / 2).exp() * math.sqrt(2) * torch.erfinv(2 * u.to(y.dtype) - 1)
        c, s = z.split(self.widths, 1)
        (mean_c, mean_s), (log_c, log_s) = mean.split(self.widths, 1), log_variance.split(self.widths, 1)
        prior = torch.where(y > 0, 1.0, self.variance)[:, None].to(y.dtype)
        return c, s, kl_to_normal(mean_c, log_c), kl_to_normal(mean_s, log_s, prior)

    def rows(self, scores: Scores) -> Tensor:
        """``[n]``."""
        total: Tensor = scores.anchor.recon
        for name, weight in self.weights.items():
            total = total + weight * getattr(scores.anchor, name)
        return total

    def opponent_loss(self, contrast: Contrast) -> Tensor:
        """Cross-entropy of joint codes and codes that are not of one sample, over all processes, 0-d."""
        codes = [contrast.anchors.get(key).detach() for key in ("common", "salient")]
        if contrast.exchange != "none" and world_size() > 1:
            sizes = [n for (n,) in all_sizes(len(codes[0]), device=codes[0].device)]
            codes = [gather_rows(z, sizes)[in_turn(sizes)] for z in codes]  # who is paired with whom must not differ
        c, s = codes
        joint = self.opponent(torch.cat([c, s], 1)).float()
        apart = self.opponent(torch.cat([c, s.roll(1, 0)], 1)).float()
        return (F.softplus(-joint) + F.softplus(apart)).mean() / 2
