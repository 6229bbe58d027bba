"""Where the time of a step goes."""

import time
from typing import Any

import torch
from lightning.pytorch.profilers import Profiler
from torch import nn

NETWORKS = ("encoder", "head", "predictor", "key_encoder", "key_head")
WAITING, VIEWS = "waiting for data", "making views"


class StepClock(Profiler):
    """Seconds of each of Lightning's actions since the last lap, and of the forward passes of the module's parts."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self.forward = False
        """Whether the training step is encoding: what checkpointing encodes once more belongs to backward."""

    def start(self, action_name: str) -> None:
        """Begin an action."""
        self._began[action_name] = _now()

    def stop(self, action_name: str) -> None:
        """End it."""
        if action_name in self._began:
            taken = _now() - self._began.pop(action_name)
            self._taken[action_name] = self._taken.get(action_name, 0.0) + taken

    def watch(self, module: Any) -> None:
        """Time the forward passes of each part, by hooks."""
        for name in NETWORKS:
            part = getattr(module, name, None)
            if isinstance(part, nn.Module):
                part.register_forward_pre_hook(lambda *_, name=name: self.start(name) if self.forward else None)
                part.register_forward_hook(lambda *_, name=name: self.stop(name) if self.forward else None)

    def lap(self) -> dict[str, float]:
        """Seconds of the step that ends here, by what they went into."""

        def total(first: str, last: str) -> float:
            return sum(t for name, t in self._taken.items() if name.startswith(first) and name.endswith(last))

        encoding = sum(self._taken.get(name, 0.0) for name in NETWORKS)
        step, backward = total("[Strategy]", ".training_step"), total("[Strategy]", ".backward")
        out = {
            WAITING: total("", ".train_dataloader_next"),
            VIEWS: total("[Strategy]", ".batch_to_device"),
            "encoding": encoding,
            "comparing": max(0.0, step - encoding),
            "backward": backward,
            "optimizer": max(0.0, total("[LightningModule]", ".optimizer_step") - step - backward),
            "callbacks": total("[Callback]", ".on_train_batch_start") + total("[Callback]", ".on_train_batch_end"),
        }
        self._taken.clear()
        return out


def _now() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()  # what was only queued has not been done
    return time.perf_counter()
