"""Pictures mixed with those that contradict their bias (SelecMix)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, require_state
from lightning_contrast.contrast import Contrast
from lightning_contrast.contrast.exchange import all_sum, gather_rows, world_size
from lightning_contrast.encoders import EncoderLike, SmallCNN
from lightning_contrast.functional.contradicting import contradicting_pairs
from lightning_contrast.functional.counter_random import counter_uniform, hash_integers
from lightning_contrast.objectives.classification import Classification
from lightning_contrast.objectives.generalized_supcon import GeneralizedSupCon

_STATE = ("encoder", "optimizer")


class SelecMix(ContrastCallback):
    """The second view becomes the first, mixed with a picture that contradicts its bias (Hwang et al. 2022).

    A small encoder of its own, trained beside the module by ``GeneralizedSupCon`` on the first views, learns what is easy: the
    bias. By its features, and by the toss of a coin a step, partners are the least similar pictures of the same class or the
    most similar ones of other classes, among those of all processes; the mixture ``lam x + (1 - lam) x'``, ``lam`` uniform in
    (0, 1/2), has the partner's label (``mixed_label``). The objective ``Classification`` learns from both views. Draws are a
    function of seed, step and sample index. Evaluation is left as it is.

    Logs ``<name>/loss`` (of the biased encoder).

    Args:
        encoder: the biased one, without lazy layers; ``None`` is a ``SmallCNN`` of one channel. BatchNorm takes its statistics
            on each process; GroupNorm is exact on several.
        q: of ``GeneralizedSupCon``, in (0, 1].
        temperature: of the same, > 0.
        lr: of its AdamW, > 0.
        seed: of the draws.
        name: in logs.

    Raises:
        ValueError: for values out of range; at set-up for another objective; in the first step for batches without two views.
    """

    def __init__(
        self,
        encoder: EncoderLike | None = None,
        q: float = 0.7,
        temperature: float = 0.2,
        lr: float = 1e-3,
        seed: int = 0,
        name: str = "bias",
    ) -> None:
        if not lr > 0:
            raise ValueError(f"lr={lr}: must be > 0.")
        self.encoder = SmallCNN((16, 32, 64)) if encoder is None else encoder
        self.objective = GeneralizedSupCon(q, temperature)
        self.optimizer = torch.optim.AdamW(self.encoder.parameters(), lr=lr)
        self.seed, self.name, self._loss = seed, name, torch.zeros(())

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Only an objective that reads both labels has a use for mixtures."""
        super().setup(trainer, pl_module, stage)
        if not isinstance(pl_module.objective, Classification):
            raise ValueError(
                f"SelecMix changes the labels of second views, which {type(pl_module.objective).__name__} does not know of: "
                "use it with the objective Classification."
            )

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """All processes begin with the first one's encoder."""
        self.encoder.load_state_dict(trainer.strategy.broadcast(self.encoder.state_dict()))
        self.encoder.to(pl_module.device)
        for state in self.optimizer.state.values():
            state.update({k: v.to(pl_module.device) for k, v in state.items() if isinstance(v, Tensor) and v.dim()})

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """One step of the biased encoder; mixtures in place of the second view."""
        if len(batch.get("views", ())) != 2 or not isinstance(batch["views"][0], Tensor):
            raise ValueError("SelecMix mixes the first of two views into the second: use n_views=2, pairs=False.")
        x = batch["views"][0]
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            z = self._learnt(x.float(), batch["label"])
        mixed, label = self.mixed(x, z, batch["label"], batch["index"], trainer.global_step)
        batch["views"] = [x, mixed]
        batch["mixed_label"] = label
        if logs_now(trainer):
            pl_module.log_dict({f"{self.name}/loss": self._loss})

    def _learnt(self, x: Tensor, label: Tensor) -> Tensor:
        """Features ``[N, F]``, detached, before the step that they serve."""
        self.encoder.train()
        z = self.encoder(x)
        self.optimizer.zero_grad()
        loss = self.objective(Contrast.from_views(z[None], label=label))
        loss.backward()
        if world_size() > 1:  # each process has its share of the gradient
            for p in self.encoder.parameters():
                p.grad = all_sum(torch.zeros_like(p) if p.grad is None else p.grad) / world_size()
        self.optimizer.step()
        self._loss = loss.detach()
        return z.detach()

    @torch.no_grad()
    def mixed(self, x: Tensor, z: Tensor, label: Tensor, index: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mixtures ``[N, ...]`` and their labels ``[N]``.

        Args:
            x: inputs, ``[N, ...]``.
            z: biased features, ``[N, F]``.
            label: ``[N]``.
            index: ``[N]``.
            step: of the draws.
        """
        z = torch.nn.functional.normalize(z, dim=1)
        everyone = [x, z, label, index]
        if world_size() > 1:
            everyone = [gather_rows(t.contiguous()) for t in everyone]
        pictures, features, labels, indices = everyone
        own = (indices == index[:, None]).int().argmax(1)
        same_class = hash_integers(self.seed, step) % 2 == 0
        partner = contradicting_pairs(z @ features.mT, label, labels, same_class, own)
        share = counter_uniform(index, 1, seed=self.seed, epoch=step)[:, 0].to(x) / 2
        share = share.reshape(-1, *[1] * (x.dim() - 1))
        return share * x + (1 - share) * pictures[partner], labels[partner]

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The biased encoder and its optimizer."""
        return {"encoder": self.encoder.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state.
        """
        require_state(state_dict, _STATE, "SelecMix")
        self.encoder.load_state_dict(state_dict["encoder"])
        self.optimizer.load_state_dict(state_dict["optimizer"])
