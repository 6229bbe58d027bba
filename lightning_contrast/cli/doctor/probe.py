"""The callback that watches the first steps, then ends the run."""

import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from lightning_contrast.cli.doctor.clock import StepClock
from lightning_contrast.cli.doctor.memory import measure
from lightning_contrast.cli.doctor.observation import PARTS, Observation, Step
from lightning_contrast.contrast import Contrast
from lightning_contrast.data.batch import batch_inputs

ENOUGH = 25.0  # seconds of steps, after which two steps are enough


class EnoughSeen(Exception):
    """Ends the run after the steps asked for, without what callbacks do at the end of an epoch."""


class Probe(pl.Callback):
    """Writes what it sees into an :class:`Observation`; the last of the callbacks, so that it sees what they made.

    Args:
        seen: written to.
        steps: to watch; fewer, but two, where they take longer than ``ENOUGH``.
        clock: the Trainer's profiler.
    """

    reads_vectors = False
    """What is compared may be several vectors a row; what cannot be read of them is left out."""

    def __init__(self, seen: Observation, steps: int, clock: StepClock) -> None:
        self.seen, self.steps, self.clock = seen, steps, clock
        self._began = 0.0
        self._before: dict[str, Tensor] = {}
        self._laps: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """The parts are known, and their widths."""
        self.clock.watch(pl_module)
        self._began = time.perf_counter()

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A copy, since encoders may write into their inputs."""
        self.seen.steps.append(Step(tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, batch)))
        self.clock.forward = True

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: Tensor) -> None:
        """Encoding is over."""
        self.clock.forward = False

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """What was scored, with everything that callbacks added."""
        self.seen.steps[-1].contrasts.append((contrast, float(loss)))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Gradients of what this optimizer steps, before they are clipped."""
        step = self.seen.steps[-1]
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for part, parameters in parts_of(pl_module, stepped).items():
            reached = [p.grad for p in parameters.values() if p.grad is not None]
            step.gradient[part] = float(torch.stack([g.norm() for g in reached]).norm()) if reached else 0.0
            step.weight[part] = float(torch.stack([p.detach().norm() for p in parameters.values()]).norm())
            step.untouched += [f"{part}.{name}" for name, p in parameters.items() if p.grad is None]
        self._before = {name: p.detach().clone() for name, p in pl_module.named_parameters() if p.dim() > 1}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """How far weights moved; after the last step, what is measured apart."""
        self._laps.append(self.clock.lap())
        seen, step = self.seen, self.seen.steps[-1]
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        shares = {id(p): _share_of_rate(group) for group in groups for p in group["params"]}
        now = dict(pl_module.named_parameters())
        for part in step.gradient:
            names = [name for name in self._before if name.split(".")[0] == part and now[name].requires_grad]
            names = [name for name in names if shares.get(id(now[name]), 0) > 0]
            size = sum(float(self._before[name].norm()) ** 2 for name in names) ** 0.5
            ways = ((now[name].detach() - self._before[name]).norm() / shares[id(now[name])] for name in names)
            if size:
                step.moved[part] = sum(float(way) ** 2 for way in ways) ** 0.5 / size
        late = len(seen.steps) >= 2 and time.perf_counter() - self._began > ENOUGH
        if len(seen.steps) < self.steps and not late:
            return
        laps = self._laps[1:] or self._laps  # the first step warms up
        seen.seconds = {name: sum(lap[name] for lap in laps) / len(laps) for name in laps[0]}
        seen.mixing, seen.noise = _dependence(pl_module, seen)
        try:
            seen.memory = measure(pl_module, step.batch)
        except Exception as error:  # such as for want of what callbacks bring; the steps before had it
            seen.unmeasured = f"{type(error).__name__}: {error}"
        raise EnoughSeen


def parts_of(module: Any, stepped: set[int]) -> dict[str, dict[str, nn.Parameter]]:
    """The trained parameters, of those stepped, of the module's parts that have any."""
    found = {}
    for name in PARTS:
        part = getattr(module, name, None)
        trained = (
            {k: p for k, p in part.named_parameters() if p.requires_grad and id(p) in stepped}
            if isinstance(part, nn.Module)
            else {}
        )
        if trained:
            found[name] = trained
    return found


def _share_of_rate(group: dict[str, Any]) -> float:
    """This step's learning rate, of the one configured: a warm-up begins with little."""
    full = float(group.get("initial_lr", group["lr"]))
    return float(group["lr"]) / full if full else 1.0


@torch.no_grad()
def _dependence(module: Any, seen: Observation) -> tuple[float, float]:
    """By how much embeddings change when every other row of their batch is replaced, and when nothing is."""
    one, two = (next(iter(batch_inputs(step.batch).values())) for step in (seen.steps[0], seen.steps[-1]))
    if len(seen.steps[0].batch["index"]) < 4:
        return 0.0, 0.0

    def embedded(inputs: Any, seed: int) -> Tensor:
        copy = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, inputs)
        with torch.random.fork_rng(), module.trainer.precision_plugin.forward_context():
            torch.manual_seed(seed)
            z = module.project(copy)
        return (z if isinstance(z, Tensor) else z[0])[::2].float()  # of tokens and their mask, the tokens

    first = embedded(one, 0)
    size = first.norm().clamp(min=1e-12)
    noise = float((embedded(one, 1) - first).norm() / size)
    if not isinstance(one, Tensor) or not isinstance(two, Tensor) or one.shape != two.shape:
        return 0.0, noise
    mixed = one.clone()
    mixed[1::2] = two[1::2]
    return float((embedded(mixed, 0) - first).norm() / size), noise
