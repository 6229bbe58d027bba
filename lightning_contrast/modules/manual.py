"""What modules with optimisation by hand share: steps that mean the same on one process and on many."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_contrast.contrast.exchange import all_sum, world_size
from lightning_contrast.modules.contrastive import ContrastiveModule


class ManualModule(ContrastiveModule):
    """Base of :class:`AlternatingModule` and :class:`MinNormModule`: a subclass writes :meth:`update`.

    Gradients are taken by name, averaged over processes, and only then put together, so that two processes step as one.
    The learning-rate schedule of the first optimizer moves as in automatic optimisation, and ``trainer.global_step`` counts
    its steps. Lightning refuses ``gradient_clip_val`` and ``accumulate_grad_batches`` before training; ``setup`` refuses
    fp16 with its scaler, strategies other than one device and DDP, and schedules that watch a metric.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def update(self, loss: Tensor) -> None:
        """Takes the step or steps of this batch; :attr:`_scored` holds what was compared."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_idx: int = 0) -> Tensor:
        """The loss of a batch, after its steps."""
        loss = super().training_step(batch, batch_idx)
        if self._probing:  # whoever probes asks for the gradient
            return loss
        self.update(loss)
        return loss.detach()

    def gradients(self, loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
        """Of each parameter, the mean over processes; ``None`` for one that no process's loss depends on."""
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        if world_size() == 1:
            return list(found)
        has = all_sum(torch.tensor([g is not None for g in found], dtype=torch.int64, device=loss.device))
        known = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        for dtype in {g.dtype for g in known}:
            same = [i for i, g in enumerate(known) if g.dtype == dtype]
            flat = all_sum(torch.cat([known[i].flatten() for i in same]))
            parts = (flat / world_size()).split([known[i].numel() for i in same])
            for i, part in zip(same, parts, strict=True):
                known[i] = part.view_as(known[i])
        return [g if n else None for g, n in zip(known, has.tolist(), strict=True)]

    def step(self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
        """The first optimizer's step, its schedule's, and what follows a step: memories, teachers, temperatures."""
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        self.on_after_backward()
        optimizers = self.optimizers()
        (optimizers[0] if isinstance(optimizers, list) else optimizers).step()
        self.after_optimizer_step()
        for p in parameters:
            p.grad = None
        self._move_schedule("step")

    def on_train_epoch_end(self) -> None:
        """Schedules that move by epoch."""
        self._move_schedule("epoch")

    def _move_schedule(self, interval: str) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if config.interval == interval:
                config.scheduler.step()  # type: ignore[call-arg]

    def trained(self) -> list[nn.Parameter]:
        """Everything that is trained."""
        return [p for p in self.parameters() if p.requires_grad]

    def setup(self, stage: str) -> None:
        """As ever, and refuses what would not hold."""
        super().setup(stage)
        if stage != "fit":
            return
        name, trainer = type(self).__name__, self.trainer
        if str(trainer.precision) in ("16-mixed", "16-true"):
            raise ValueError(
                f"{name} takes its gradients itself, without the scaler that precision={trainer.precision!r} needs: use "
                "'bf16-mixed' or '32-true'."
            )
        if not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            raise ValueError(
                f"{name} averages gradients over processes itself, which {type(trainer.strategy).__name__} would not know "
                "of: use one device or strategy='ddp'."
            )

    def configure_optimizers(self) -> Any:
        """As ever; a schedule that watches a metric is refused."""
        made = super().configure_optimizers()
        scheduler = made["lr_scheduler"]["scheduler"] if isinstance(made, dict) else None
        if isinstance(scheduler, ReduceLROnPlateau):
            raise ValueError(f"{type(self).__name__} moves its schedule itself: ReduceLROnPlateau cannot be used here.")
        return made


def raw(optimizer: Any) -> Optimizer:
    """The optimizer behind Lightning's wrapper, whose steps are not counted."""
    return getattr(optimizer, "optimizer", optimizer)
