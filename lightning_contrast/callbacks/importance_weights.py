"""Candidates count by a number of their own: importance, or how likely they were to be there."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_contrast.callbacks.by_index import TableLike, table_by_index
from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins
from lightning_contrast.contrast import Contrast, Pair
from lightning_contrast.functional.by_index import looked_up

Kind = Literal["weight", "propensity", "log_weight"]


class ImportanceWeights(ContrastCallback):
    r"""Multiplies a candidate's term in the denominator by its weight ``w_j``: ``log w_j`` is added to its logit there.

    Weights come with the candidates (``key``) or by the sample's index (``table``). A *propensity* :math:`q_j`, the chance
    with which an item is drawn as a negative, is undone by :math:`w_j = q_j^{-1}`: the sum over the batch then estimates
    the sum over all items (the logQ correction of sampled softmax, Bengio and Senecal 2008; Yi et al. 2019, eq. 5, with
    ``positives=True``). ``power`` between 0 and 1 corrects in part. A weight of 0 takes a candidate out of denominators;
    one that is not known (NaN, or no index) is 1.

    Logs, of this process's first block of candidates, ``<name>/mean`` and ``<name>/effective``: the share ``(sum w)^2 / (M
    sum w^2)`` of candidates that effectively count.

    Args:
        key: payload of the candidates, ``[M]``.
        table: ``[N]`` by index, a tensor or a file (see
            :func:`~lightning_contrast.callbacks.by_index.table_by_index`); one of ``key`` and ``table``.
        kind: what the numbers are: ``weight`` (>= 0), ``propensity`` (> 0) or ``log_weight``.
        power: exponent of the weight; 0 changes nothing.
        minimum: weights are clipped from below, >= 0.
        maximum: and from above; large weights make noisy gradients.
        positives: whether positives are weighted in the denominator as well.
        blocks: names of the blocks of candidates it speaks of; ``None`` is all.
        name: in logs.

    Raises:
        ValueError: for values out of range, or numbers that are no weights.
        FileNotFoundError: if the table's file is not there.
        KeyError: if a block lacks the key.
    """

    def __init__(
        self,
        key: str | None = None,
        table: TableLike | None = None,
        kind: Kind = "weight",
        power: float = 1.0,
        minimum: float = 0.0,
        maximum: float = math.inf,
        positives: bool = False,
        blocks: Sequence[str] | None = None,
        name: str = "importance",
    ) -> None:
        if (key is None) == (table is None):
            raise ValueError("ImportanceWeights needs either key=... (payload) or table=... (numbers by index).")
        if kind not in ("weight", "propensity", "log_weight"):
            raise ValueError(f"kind={kind!r}: use 'weight', 'propensity' or 'log_weight'.")
        if not math.isfinite(power):
            raise ValueError(f"power={power}: must be a finite number.")
        if not 0 <= minimum <= maximum or maximum == 0:
            raise ValueError(f"minimum={minimum}, maximum={maximum}: need 0 <= minimum <= maximum and maximum > 0.")
        if isinstance(blocks, str):
            raise ValueError(f"blocks={blocks!r}: give a list of names.")
        self.key, self.kind, self.power, self.positives = key, kind, float(power), positives
        self.minimum, self.maximum, self.name = float(minimum), float(maximum), name
        self.blocks = None if blocks is None else tuple(blocks)
        self.table: Tensor | None = None
        if table is not None:
            self.table = table_by_index(table, f"ImportanceWeights(name={name!r}, table=...)", width=False)
            self._check(self.table, "the table")

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Refuses a second one of this name."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")

    def _check(self, value: Tensor, where: str) -> None:
        low = 0 if self.kind == "log_weight" else float(value.nan_to_num(1.0).min()) if value.numel() else 1
        if low < 0 or (low == 0 and self.kind == "propensity"):
            raise ValueError(
                f"ImportanceWeights(name={self.name!r}): {where} holds {low}, but a {self.kind} is "
                f"{'>= 0' if self.kind == 'weight' else '> 0'}."
            )

    def log_weight(self, value: Tensor) -> Tensor:
        """``log w`` of the numbers given, clipped; 0 where a number is NaN."""
        out = value.float() if self.kind == "log_weight" else value.float().log()
        out = (-out if self.kind == "propensity" else out) * self.power
        floor = math.log(self.minimum) if self.minimum else -math.inf
        return out.clamp(floor, math.log(self.maximum)).masked_fill(value.isnan(), 0.0)

    def _rule(self, pair: Pair) -> Tensor:
        if self.key is not None:
            value = getattr(pair.candidate, self.key)
        else:
            assert self.table is not None
            if self.table.device != pair.candidate.index.device:
                self.table = self.table.to(pair.candidate.index.device)
            value = looked_up(self.table, pair.candidate.index)
        out = self.log_weight(value)
        return out if self.positives else torch.where(pair.target > 0, 0.0, out)

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Adds the log-weights."""
        blocks = [b for b in contrast.candidates if self.blocks is None or b.name in self.blocks]
        if not blocks:
            return contrast
        for block in blocks if self.key is not None else []:
            value = block.get(self.key or "")
            if value.device.type == "cpu":  # elsewhere asking would make the host wait
                self._check(value, f"{self.key!r} of block {block.name!r}")
        return contrast.add_log_weight(self._rule, on=None if self.blocks is None else [b.name for b in blocks])

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Logs how uneven the weights are."""
        blocks = [b for b in contrast.candidates if self.blocks is None or b.name in self.blocks]
        if not logs_now(trainer) or not blocks:
            return
        one = blocks[0]
        value = one.get(self.key) if self.key is not None else looked_up(self.table, one.get("index"))  # type: ignore[arg-type]
        w = self.log_weight(value).exp()
        share = w.sum().square() / (w.numel() * w.square().sum()).clamp(min=1e-30)
        pl_module.log_dict({f"{self.name}/mean": w.mean(), f"{self.name}/effective": share})
