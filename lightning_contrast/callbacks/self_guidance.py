"""The layers of a frozen copy of the encoder as positives (SG-BERT)."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.callbacks.embedding import first_input
from lightning_contrast.contrast import Candidates, Contrast
from lightning_contrast.encoders import Frozen, TextEncoder
from lightning_contrast.functional.counter_random import counter_uniform

Option = Literal["base", "opt1", "opt2", "opt3"]


class SelfGuidance(ContrastCallback):
    """Each text's embedding ``c_i`` meets the layers ``h_ik`` of the encoder as it was at the start, of all texts.

    Kim, Yoo and Lee, "Self-Guided Contrastive Learning for BERT Sentence Representations" (ACL 2021, section 3). Each
    layer's states (of the words themselves too, layer 0) are max-pooled and go through the module's head, which is trained
    on both sides; the copy is frozen. What is compared:

    - ``base`` (eq. 1): one layer a text, drawn each step; ``c`` and ``h`` are two views, NT-Xent with ``InfoNCE``;
    - ``opt1``: only ``c`` are anchors; the ``c`` of other texts are negatives too;
    - ``opt2``: only ``h`` are candidates: ``InfoNCE(c, h)``;
    - ``opt3`` (SG-OPT, eq. 5): all layers are candidates; ``DecoupledSoftmax(positives="mean")`` takes the mean over an
      anchor's own layers, each against all layers of other texts.

    A text needs but one view (``n_views: 1``). Beside the loss ``hold * ||theta - theta_0||^2`` over the encoder's weights
    keeps them where they began; its gradient is added before each step.

    Args:
        option: see above.
        hold: ``lambda``, >= 0.
        seed: of the layers drawn.

    Raises:
        ValueError: for an option that there is not, a negative weight; at set-up for an encoder that is no ``TextEncoder``.
    """

    one_view = True
    """Positives come from here."""

    def __init__(self, option: Option = "opt3", hold: float = 0.1, seed: int = 0) -> None:
        if option not in get_args(Option):
            raise ValueError(f"option={option!r}: use one of {', '.join(get_args(Option))}.")
        if not hold >= 0:
            raise ValueError(f"hold={hold}: must be >= 0.")
        self.option, self.hold, self.seed = option, hold, seed
        self.name = "self_guidance"
        self._inputs: Any = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Makes the frozen copy part of the module, which is saved and moved with it."""
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module.encoder, TextEncoder):
            raise ValueError(
                f"SelfGuidance reads the layers of a TextEncoder, the encoder is a {type(pl_module.encoder).__name__}."
            )
        if self.name not in pl_module.extras:  # else a second fit
            teacher = Frozen()
            teacher.follow(pl_module._online())
            pl_module.extras[self.name] = teacher

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keeps the texts."""
        self._inputs = first_input(batch)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """As in training."""
        self._inputs = first_input(batch)

    on_test_batch_start = on_validation_batch_start

    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """Layers in place of the other views."""
        h = frozen_layers(pl_module.extras[self.name].copied[0], self._inputs)
        anchors, n = contrast.anchors, h.shape[0]
        if anchors.rows != n:
            raise ValueError(f"SelfGuidance: {anchors.rows} anchors of {n} texts; give one view (n_views: 1).")
        if self.option != "opt3":
            drawn = counter_uniform(anchors.get("index"), 1, seed=self.seed, epoch=trainer.global_step)[:, 0]
            layer = (drawn * h.shape[1]).long().clamp(max=h.shape[1] - 1)
            h = h[torch.arange(n, device=h.device), layer][:, None]
        k = h.shape[1]
        z = h.flatten(0, 1) if pl_module.head is None else pl_module.head(h.flatten(0, 1))
        payload = {key: value.repeat_interleave(k, 0) for key, value in anchors.payload.items()}
        payload["view"] = torch.ones_like(payload["view"])
        if self.option == "base":
            both = {key: torch.cat([anchors.payload[key], payload[key]]) for key in payload}
            block = Candidates(torch.cat([anchors.first, z.to(anchors.first.dtype)]), both, name="view")
            return contrast.replace(anchors=block, candidates=(block,))
        layers = Candidates(z, payload, name="layer")
        others = (anchors.replace(name="other"),) if self.option == "opt1" else ()
        return contrast.replace(anchors=anchors, candidates=(layers, *others))

    @torch.no_grad()
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Adds the gradient of the distance from the start."""
        start = dict(pl_module.extras[self.name].copied[0].named_parameters())
        for name, p in pl_module.encoder.named_parameters():
            if p.grad is not None and self.hold:
                p.grad.add_(p - start[name].to(p), alpha=2 * self.hold)


@torch.no_grad()
def frozen_layers(encoder: TextEncoder, x: Any) -> Tensor:
    """The largest entry over a text's tokens of each layer's states, layer 0 being the embedded words. ``[N, K + 1, F]``."""
    states = encoder.layers(x["input_ids"], x["attention_mask"])
    return states.masked_fill(x["attention_mask"][None, ..., None] == 0, -torch.inf).amax(2).transpose(0, 1)
