"""Restoring pictures: near the truth by pixels, for a critic, and by contrast in the critic's feature maps."""

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lightning_contrast.contrast import Candidates, Contrast, Result, Scores
from lightning_contrast.functional.counter_random import counter_uniform
from lightning_contrast.functional.gradient_reversal import reversed_gradient
from lightning_contrast.functional.resolution import lowered, raised
from lightning_contrast.functional.sharpness import blurred, sharpened
from lightning_contrast.objectives.objective import Objective
from lightning_contrast.objectives.pcl_sr import PCLSR, feature_contrasts


class Critic(nn.Module):
    """Tells true pictures from restored ones; called, it gives the feature maps of its layers.

    Args:
        widths: channels of each convolution; every one but the first halves the resolution.
        channels: of the pictures.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 64), channels: int = 1) -> None:
        super().__init__()
        sides = [channels, *widths]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride=2 if i else 1, padding=1)
            for i, (a, b) in enumerate(zip(sides, widths, strict=False))
        )
        self.last = nn.Linear(sides[-1], 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Of each layer ``[N, width, h, w]``."""
        maps: list[Tensor] = []
        for layer in self.layers:
            maps.append(F.leaky_relu(layer(maps[-1] if maps else x), 0.2))
        return maps

    def score(self, x: Tensor) -> Tensor:
        """How true a picture looks, a logit. ``[N]``."""
        return self.last(self(x)[-1].mean((2, 3)))[:, 0]


class SuperResolution(Objective):
    r"""``pixel |y - x| + adversarial GAN + contrastive PCLSR`` of restored pictures ``y`` and the truth ``x``.

    The rows of ``Contrast.from_pairs(y, x)`` are pictures with values in [0, 1], laid out. The critic is part of the
    objective and trained in the same backward pass by telling ``x`` from ``y``, ``softplus(-s(x)) + softplus(s(y))``, whose
    gradient reaches ``y`` turned round and times ``adversarial``: in automatic optimisation. The contrast is in the maps of
    all its layers (:func:`feature_contrasts`), which it does not train: near ``x`` and sharpened copies, away from blurred
    copies and from the upsampled input (Wu et al. 2021, PCL-SR). The copies of a sample are drawn once, by its index.

    Args:
        contrast: ``None`` is ``PCLSR()``.
        pixel: weight of the mean absolute difference, >= 0.
        adversarial: of the critic's gradient on ``y``, >= 0; the critic itself learns at weight 1.
        contrastive: weight, >= 0.
        factor: of the resolution of the input.
        channels: of the pictures, which are square.
        widths: channels of the critic's convolutions.
        sharp: sharpened copies, >= 0.
        blurry: blurred copies, >= 0.
        sharpness: range of their factors.
        sigma: range of the blur's, in pixels.
        seed: of the copies.

    Raises:
        ValueError: for values out of range, or rows that are no square pictures.

    Example:
        >>> import torch
        >>> from lightning_contrast import Contrast
        >>> x = torch.rand(3, 64)
        >>> round(SuperResolution(pixel=1.0, adversarial=0.0, contrastive=0.0).difference(x + 0.25, x).item(), 4)
        0.25
    """

    def __init__(
        self,
        contrast: PCLSR | None = None,
        pixel: float = 1.0,
        adversarial: float = 0.005,
        contrastive: float = 0.1,
        factor: int = 2,
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 64),
        sharp: int = 2,
        blurry: int = 4,
        sharpness: tuple[float, float] = (0.5, 5.5),
        sigma: tuple[float, float] = (0.5, 2.0),
        seed: int = 0,
    ) -> None:
        inner = contrast if contrast is not None else PCLSR()
        super().__init__(inner.temperature, inner.similarity)
        for name, value in (("pixel", pixel), ("adversarial", adversarial), ("contrastive", contrastive)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value}: a weight must be a finite number >= 0.")
        if min(sharp, blurry) < 0 or min(factor, channels, *widths) < 1:
            raise ValueError(
                f"sharp={sharp}, blurry={blurry}, factor={factor}, channels={channels}, widths={tuple(widths)}: numbers of "
                "copies must be >= 0, the others >= 1."
            )
        for name, (low, high) in (("sharpness", sharpness), ("sigma", sigma)):
            if not 0 <= low <= high:
                raise ValueError(f"{name}={low, high}: must be a range of numbers >= 0.")
        self.inner, self.critic = inner, Critic(widths, channels)
        self.pixel, self.adversarial, self.contrastive = pixel, adversarial, contrastive
        self.factor, self.channels, self.seed = factor, channels, seed
        self.sharp, self.blurry, self.sharpness, self.sigma = sharp, blurry, sharpness, sigma

    def directions(self, contrast: Contrast | Sequence[Contrast]) -> tuple[Contrast, ...]:
        """One a layer of the critic; anchors carry ``output`` and ``truth``."""
        out: list[Contrast] = []
        for one in [contrast] if isinstance(contrast, Contrast) else contrast:
            y = one.anchors.first
            x = one.candidates[0].first.detach().reshape(y.shape)
            index = torch.where(one.anchors.get("index") < 0, one.anchors.get("position"), one.anchors.get("index"))
            known = {"index": one.anchors.get("index"), "output": y, "truth": x}
            for layer in self.inner.directions(self.layers(self.picture(y), self.picture(x), index)):
                out.append(layer.replace(anchors=layer.anchors.attach(**known)))
        return tuple(out)

    def layers(self, y: Tensor, x: Tensor, index: Tensor) -> list[Contrast]:
        """The contrasts of outputs and truths ``[N, C, H, W]`` in the maps of the critic as it is."""
        u = counter_uniform(index, max(1, self.sharp + self.blurry), seed=self.seed).to(x.dtype)
        low, high = self.sharpness
        near = [x, *(sharpened(x, low + (high - low) * f) for f in u[:, : self.sharp].unbind(1))]
        low, high = self.sigma
        soft = u[:, self.sharp : self.sharp + self.blurry].unbind(1)
        far = [*(blurred(x, low + (high - low) * s) for s in soft), raised(lowered(x, self.factor), self.factor)]
        weights = {name: p.detach() for name, p in self.critic.named_parameters()}

        def maps(copies: list[Tensor]) -> list[Tensor]:
            found = functional_call(self.critic, weights, (torch.stack(copies, 1).flatten(0, 1),))
            return [m.unflatten(0, (len(x), len(copies))) for m in found]

        with torch.no_grad():
            positives, negatives = maps(near), maps(far)
        return feature_contrasts([m[:, 0] for m in maps([y])], positives, negatives)

    def picture(self, rows: Tensor) -> Tensor:
        """``[N, C * S * S]`` as ``[N, C, S, S]``."""
        side = isqrt(rows.shape[1] // self.channels)
        if rows.dim() != 2 or rows.shape[1] != self.channels * side * side:
            raise ValueError(
                f"SuperResolution(channels={self.channels}) got rows {list(rows.shape)}: no square pictures."
            )
        return rows.unflatten(1, (self.channels, side, side))

    def difference(self, y: Tensor, x: Tensor) -> Tensor:
        """Of the pixels, the mean absolute, 0-d."""
        return (y - x).abs().mean()

    def game(self, y: Tensor, x: Tensor) -> Tensor:
        """What the critic lowers and, turned round, the restoring network raises, 0-d."""
        fake = self.critic.score(self.picture(reversed_gradient(y, self.adversarial)))
        return (F.softplus(fake) + F.softplus(-self.critic.score(self.picture(x)))).float().mean()

    def evaluate_all(self, contrasts: Sequence[Contrast]) -> list[Result]:
        """The layers' results; each loss has the other terms too, so that they are in the mean once."""
        anchors: Candidates = contrasts[0].anchors
        y, x = anchors.get("output"), anchors.get("truth")
        others = self.pixel * self.difference(y, x) + self.game(y, x)
        return [replace(r, loss=self.contrastive * r.loss + others) for r in self.inner.evaluate_all(contrasts)]

    def evaluate(self, contrast: Contrast) -> Result:
        """Of one layer."""
        return self.evaluate_all([contrast])[0]

    def rows(self, scores: Scores) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The contrast's, without the other terms."""
        return self.inner.rows(scores)
