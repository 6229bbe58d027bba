"""Positives over neighbours of neighbours in a memory bank (InvP)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, require_state
from lightning_contrast.callbacks.memory_bank import MemoryBank
from lightning_contrast.contrast import Candidates, Contrast, Cosine
from lightning_contrast.contrast.exchange import gather_rows, world_size
from lightning_contrast.functional.by_index import looked_up
from lightning_contrast.functional.neighbour_walk import neighbour_walk
from lightning_contrast.objectives.inv_p import BACKGROUND, HARD, OWN, InvP, parts


class InvariancePropagation(ContrastCallback):
    """Compares each anchor with its memory, its hard positives and a hard background (Wang et al. 2020, section 3.2).

    From the ``MemoryBank`` before it: the anchor's own entry; the ``positives`` least similar of the entries reached within
    ``depth`` steps over the ``k`` nearest neighbours of each; the ``background`` most similar entries. They are a private
    block ``name``, which the objective ``InvP`` reads in place of the batch. Neighbours are found again whenever a sample is
    in the batch; one that has not been met yet leads nowhere. Until ``start_epoch``, and in evaluation, views are compared
    with each other, while the bank fills.

    Logs ``<name>/reached``, the mean number of entries within reach.

    Args:
        k: neighbours, >= 1.
        depth: steps, >= 1.
        positives: hard ones an anchor, >= 1.
        background: entries an anchor, >= max(1, k).
        start_epoch: the first that reads the bank, >= 1.
        name: of the block and in logs.

    Raises:
        ValueError: for values out of range; at set-up for another objective, or without a whole bank before it.
    """

    def __init__(
        self,
        k: int = 4,
        depth: int = 3,
        positives: int = 50,
        background: int = 4096,
        start_epoch: int = 1,
        name: str = "propagated",
    ) -> None:
        for key, value in (("k", k), ("depth", depth), ("positives", positives), ("start_epoch", start_epoch)):
            if value < 1:
                raise ValueError(f"{key}={value}: must be at least 1.")
        if background < k:
            raise ValueError(f"background={background}: must be at least k={k}, since neighbours are found in it.")
        self.k, self.depth, self.positives, self.background = k, depth, positives, background
        self.start_epoch, self.name = start_epoch, name
        self.table: Tensor | None = None
        """Neighbours of each index, ``[size, k]``; -1 where there is none yet."""
        self._bank: MemoryBank | None = None
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._reached = 0.0

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Looks for bank and objective."""
        super().setup(trainer, pl_module, stage)
        before = trainer.callbacks[: trainer.callbacks.index(self)]
        self._bank = next((c for c in before if isinstance(c, MemoryBank)), None)
        if self._bank is None or self._bank.sharded or self._bank.negatives:
            raise ValueError(
                "InvariancePropagation reads a bank that no callback before it holds whole: put MemoryBank() (not sharded, "
                "without negatives) before it in the Trainer's callbacks."
            )
        if not isinstance(pl_module.objective, InvP):
            raise ValueError(
                f"InvariancePropagation brings what the objective InvP reads, but this one is "
                f"{type(pl_module.objective).__name__}."
            )

    # Score --------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def on_contrast(self, trainer: Any, pl_module: Any, contrast: Contrast) -> Contrast:
        """The bank's entries in place of the batch."""
        if not trainer.training or trainer.current_epoch < self.start_epoch:
            return contrast
        assert self._bank is not None
        bank = self._bank.z
        if bank is None:
            return contrast
        anchors = contrast.anchors
        z = anchors.z if anchors.prepared else (contrast.similarity or Cosine()).prepare(anchors.z)
        assert isinstance(z, Tensor)
        block, near = self.block(z, anchors.get("index"), bank, self._bank.known.to(bank.device))
        self._waiting.append((anchors.get("index"), near))
        return parts(contrast.append(block), self.name)

    def block(self, z: Tensor, index: Tensor, bank: Tensor, known: Tensor) -> tuple[Candidates, Tensor]:
        """What anchors ``z [N, D]`` of these samples are compared with, and their neighbours ``[N, k]``.

        Args:
            z: of unit length.
            index: ``[N]``.
            bank: ``[size, D]``.
            known: which entries there are, bool ``[size]``.
        """
        if self.table is None:
            self.table = torch.full((len(bank), self.k), -1, dtype=torch.int64)
        self.table = self.table.to(z.device)
        similarity = (z.to(bank) @ bank.mT).masked_fill_(~known, -torch.inf)
        similarity.scatter_(1, index[:, None], -torch.inf)  # its own entry is a neighbour of nobody
        score, background = similarity.topk(min(self.background, len(bank)), dim=1)
        background = background.masked_fill(score == -torch.inf, -1)
        near = background[:, : self.k]
        reached = neighbour_walk(self.table, index, near, self.depth)
        self._reached = float((reached >= 0).sum(1).float().mean())
        own = similarity.new_full(reached.shape, torch.inf)
        alike = torch.where(reached >= 0, similarity.gather(1, reached.clamp(min=0)), own)
        worst = alike.topk(min(self.positives, reached.shape[1]), dim=1, largest=False)
        hard = reached.gather(1, worst.indices).masked_fill(~worst.values.isfinite(), -1)
        rows = torch.cat([torch.where(known[index], index, -1)[:, None], hard, background], dim=1)
        part = torch.cat(
            [torch.full_like(t, p) for t, p in ((index[:, None], OWN), (hard, HARD), (background, BACKGROUND))], dim=1
        ).masked_fill(rows < 0, -1)
        payload = {"index": rows, "part": part}
        return Candidates(looked_up(bank, rows, 0.0), payload, self.name, "private", prepared=True), near

    # Then write ---------------------------------------------------------------------------------------------------

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keeps the neighbours of all processes' samples; of several views of a sample the last process's last."""
        waiting, self._waiting = self._waiting, []
        for index, near in waiting:
            rows = torch.cat([index[:, None], near], dim=1)
            if world_size() > 1:
                rows = gather_rows(rows.contiguous())
            order = rows[:, 0].argsort(stable=True)
            rows = rows[order]
            last = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
            last[:-1] = rows[1:, 0] != rows[:-1, 0]
            assert self.table is not None
            self.table[rows[last, 0]] = rows[last, 1:]
        if waiting and logs_now(trainer):
            pl_module.log_dict({f"{self.name}/reached": self._reached})

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The neighbours; equal on all processes."""
        return {"k": self.k, "table": self.table}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved.

        Raises:
            ValueError: for another's state, or another number of neighbours.
        """
        require_state(state_dict, ("k", "table"), "InvariancePropagation")
        if state_dict["k"] != self.k:
            raise ValueError(f"InvariancePropagation(k={self.k}): the checkpoint has {state_dict['k']} neighbours.")
        self.table = state_dict["table"]
        self._waiting = []
