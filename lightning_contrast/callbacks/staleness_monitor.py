"""How stale a queue or bank is, as it trains."""

from collections import deque
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now
from lightning_contrast.callbacks.embedding import as_mapping, evaluation_mode, key_input
from lightning_contrast.contrast.exchange import all_sum
from lightning_contrast.data.resume import isolated_random_state
from lightning_contrast.functional.nests import is_texts, rows_between
from lightning_contrast.functional.staleness import cosine_drift


class StalenessMonitor(ContrastCallback):
    """Logs, at logging steps, how far the keys of a memory are from what the encoder of now would give:

    - ``<memory>/drift``: one minus the cosine of old key and new one, mean over the ages of the entries, in [0, 2];
    - ``<memory>/drift_oldest``: the same of its oldest entry.

    A few samples of a step are kept, with the keys that they have then, and encoded again at later looks: drift by age, 0 at
    age 0, in between by a straight line (Wang et al., CVPR 2020, section 3.1, do so on the whole training data). Both times
    in evaluation mode, so that it is the weights' movement alone: 0 while they stand still, whatever dropout and crops do.
    Nothing of it is in checkpoints; a resumed run begins to measure anew. The training is left as it is.

    :class:`~lightning_contrast.metrics.QueueStaleness` has the same from any two sets of keys.

    Args:
        memory: name of the ``MemoryQueue`` or ``MemoryBank``.
        sample: samples of a step to keep, of each process, >= 1.
        keep: so many steps, evenly over the memory's ages, >= 2; a look encodes at most ``sample * (keep + 1)`` inputs.

    Raises:
        ValueError: for values out of range; at set-up for no memory of that name; for keys that are no vectors.
    """

    def __init__(self, memory: str = "queue", sample: int = 32, keep: int = 8) -> None:
        if sample < 1 or keep < 2:
            raise ValueError(f"sample={sample}, keep={keep}: sample must be at least 1, keep at least 2.")
        self.memory, self.sample, self.keep = memory, sample, keep
        self._kept: deque[tuple[int, Any, Tensor]] = deque()  # step, inputs, keys of then; the oldest first
        self._last = -1

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Looks for the memory."""
        super().setup(trainer, pl_module, stage)
        self._memory(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Of an earlier fit nothing is known."""
        self._kept.clear()
        self._last = -1

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Encodes what is kept again, logs, and keeps some more."""
        step = trainer.global_step
        if step == self._last or not logs_now(trainer):
            return
        self._last = step
        steps = self._memory(trainer).steps
        ages = step - steps.double().cpu().numpy()
        if len(ages):
            self._forget(step - ages.max())
        points = [(step - made, self._drift(trainer, pl_module, inputs, keys)) for made, inputs, keys in self._kept]
        if points and len(ages):
            known, drift = zip((0, 0.0), *reversed(points), strict=True)
            found = np.interp(ages, known, drift)
            figures = {"drift": float(found.mean()), "drift_oldest": float(found[ages.argmax()])}
            pl_module.log_dict({f"{self.memory}/{name}": value for name, value in figures.items()})
        inputs = first_rows(key_input(as_mapping(batch)), self.sample)
        self._kept.append((step, inputs, self._keys(trainer, pl_module, inputs)))

    def _memory(self, trainer: pl.Trainer) -> Any:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        memories = {c.name: c for c in callbacks if hasattr(c, "steps") and hasattr(c, "name")}
        if self.memory not in memories:
            raise ValueError(
                f"StalenessMonitor(memory={self.memory!r}): there is no MemoryQueue or MemoryBank of that name; there are "
                f"{sorted(memories) or 'none'}."
            )
        return memories[self.memory]

    def _forget(self, oldest: float) -> None:
        """Keeps one step from before the oldest entry, and of too many those that lie evenly."""
        while len(self._kept) > 1 and self._kept[1][0] <= oldest:
            self._kept.popleft()
        while len(self._kept) > self.keep:
            made = [step for step, *_ in self._kept]
            gaps = [after - before for before, after in zip(made[:-2], made[2:], strict=True)]
            del self._kept[1 + gaps.index(min(gaps))]

    @torch.no_grad()
    def _keys(self, trainer: pl.Trainer, pl_module: Any, inputs: Any) -> Tensor:
        with isolated_random_state(0), evaluation_mode(pl_module), trainer.precision_plugin.forward_context():
            z = pl_module.project_keys(inputs)
        if not isinstance(z, Tensor) or z.dim() != 2:
            raise ValueError(
                "StalenessMonitor compares keys that are one vector each; leave it out for token embeddings."
            )
        return z.detach()

    def _drift(self, trainer: pl.Trainer, pl_module: Any, inputs: Any, keys: Tensor) -> float:
        """Mean over the samples of all processes."""
        drift = cosine_drift(keys, self._keys(trainer, pl_module, inputs))
        total, count = all_sum(torch.stack([drift.sum(), drift.new_tensor(len(drift))]))
        return float(total / count.clamp(min=1))


def first_rows(inputs: Any, count: int) -> Any:
    """Copies of the first ``count`` samples, which do not keep the rest of the batch."""
    copied = lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf  # noqa: E731
    return tree_map(copied, rows_between(inputs, 0, count), is_leaf=is_texts)
