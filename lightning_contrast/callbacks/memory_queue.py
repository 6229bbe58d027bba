"""A first-in-first-out memory of keys: more negatives than the batch has."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from lightning_contrast.callbacks.callback import ContrastCallback, logs_now, refuse_twins, require_state
from lightning_contrast.callbacks.fifo import Fifo
from lightning_contrast.callbacks.keys import KNOWN, gathered_keys
from lightning_contrast.contrast import Candidates, Contrast


class MemoryQueue(ContrastCallback):
    """Keys of earlier steps are further candidates (He et al. 2020, MoCo; Wang et al. 2020, cross-batch memory).

    A step is scored against the queue as it was, then its keys of all processes are enqueued, each distinct block of keys
    once a step (with ``both_orders`` the keys of both views, with small crops each large view once; of ``from_views`` all
    rows). Only filled slots are candidates. Entries of the same sample are never negatives, by ``index``; with a target by
    label, entries of the anchor's label are positives. Evaluation reads the queue and leaves it as it is. Until something
    is enqueued, ``in_batch=False`` leaves anchors with their positive alone: a loss of 0.

    Entries have no gradient. Where the keys of the batch have one (no ``key_encoder``), they are drawn to their anchors, and
    hardly any anchor pushes them away, since the queue takes most of the softmax: one encoder for both sides then gives all
    samples about the same embedding, the more the larger the queue (``docs/evidence/search-translations.md``). Use a
    ``key_encoder``, as MoCo does, or ``detach_keys=True``.

    Logs ``<name>/fill`` (entries) and ``<name>/age`` (mean, in optimizer steps).

    Args:
        size: entries, > 0; any batch size goes, even one larger than the queue.
        warmup_steps: optimizer steps in which the queue fills but is not scored, while the encoder still moves fast.
        payload: keys of the payload to store; ``None`` is ``index``, ``label``, ``query_id`` and ``document_id``, as far as
            there.
        dtype: of the stored keys; ``None`` keeps theirs, ``bfloat16`` halves the memory (a million keys of 128: 256 MB).
        classes: ``None`` is one queue. A number: a queue of ``size // classes`` for each label ``0 .. classes - 1``, so
            that rare classes are not washed out; rows of other labels are not stored.
        directions: names of the contrasts that feed and read it; ``None`` is all. A module with two towers and a symmetric
            objective needs one queue a direction.
        detach_keys: the batch's keys have no gradient either, in contrasts that read the queue; for one encoder of both
            sides and a symmetric objective, where each side is trained as anchor.
        name: of the block and in logs; two queues need two names.

    Raises:
        ValueError: for values out of range; at set-up for names that clash or towers that would share a queue.

    Example:
        >>> MemoryQueue(size=0)
        Traceback (most recent call last):
        ValueError: size=0: a MemoryQueue needs at least 1 entry (4096 to 65536 are usual).
    """

    def __init__(
        self,
        size: int = 4096,
        warmup_steps: int = 0,
        payload: Sequence[str] | None = None,
        dtype: Literal["bfloat16"] | None = None,
        classes: int | None = None,
        directions: Sequence[str] | None = None,
        detach_keys: bool = False,
        name: str = "queue",
    ) -> None:
        if size < 1:
            raise ValueError(f"size={size}: a MemoryQueue needs at least 1 entry (4096 to 65536 are usual).")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps={warmup_steps}: must be at least 0.")
        if dtype not in (None, "bfloat16"):
            raise ValueError(f"dtype={dtype!r}: use None (as the keys) or 'bfloat16'.")
        if classes is not None and not 1 <= classes <= size:
            raise ValueError(f"classes={classes}: must lie between 1 and size={size}; every class needs a slot.")
        if isinstance(payload, str) or isinstance(directions, str):
            raise ValueError(f"payload={payload!r}, directions={directions!r}: give lists of names.")
        self.detach_keys = detach_keys
        self.size, self.warmup_steps, self.dtype, self.classes, self.name = size, warmup_steps, dtype, classes, name
        self.payload = None if payload is None else tuple(payload)
        self.directions = None if directions is None else tuple(directions)
        self._fifo = Fifo(size, classes)
        self._tuple = False
        self._keys_seen: list[Tensor] = []
        self._feeds: deque[bool] = deque()
        self._waiting: list[tuple[Candidates, int]] = []
        self._names_seen: set[str] = set()

    @property
    def state_key(self) -> str:
        """One entry in the checkpoint for each name."""
        return self._generate_state_key(name=self.name)

    @property
    def fill(self) -> int:
        """Entries now."""
        return self._fifo.fill

    @property
    def steps(self) -> Tensor:
        """The optimizer step at which each entry was made. ``[fill]``."""
        return self._fifo.rows().get("step", torch.zeros(0, dtype=torch.int64))

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Checks what the queue would be fed with."""
        super().setup(trainer, pl_module, stage)
        refuse_twins(self, trainer, self.name, "give each its own name=...")
        towers = pl_module.key_encoder is not None and any(p.requires_grad for p in pl_module.key_encoder.parameters())
        if towers and pl_module.objective.symmetric and self.directions is None:
            raise ValueError(
                f"MemoryQueue(name={self.name!r}) would mix the embeddings of two towers, since the objective is "
                "symmetric: use one queue a direction, MemoryQueue(directions=['anchor->positive'], name='forth') and "
                "MemoryQueue(directions=['positive->anchor'], name='back')."
            )

    # Score --------------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Forgets what a step without backward may have left."""
        self._keys_seen.clear()
        self._feeds.clear()

    def on_contrast(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast) -> Contrast:
        """Appends the filled part of the queue."""
        if trainer.training:
            self._feeds.append(self._is_new(contrast))
        if not self._concerns(contrast) or self.fill == 0 or trainer.global_step < self.warmup_steps:
            return contrast
        anchors = contrast.anchors.first
        self._fifo.to(anchors.device)
        self._check_shape(contrast.anchors, f" of {contrast.name!r}")
        if self.detach_keys:
            if contrast.is_self:
                raise ValueError(
                    "MemoryQueue(detach_keys=True) is for pairs: of views every row is anchor and key at once. Give the module "
                    "a key_encoder instead, such as Momentum()."
                )
            contrast = contrast.replace(candidates=(contrast.candidates[0].detach(), *contrast.candidates[1:]))
        return contrast.append(self.block())

    def _check_shape(self, rows: Candidates, whose: str = "") -> None:
        held = self._fifo.columns.get("z/0")
        if held is not None and held.shape[1:] != rows.first.shape[1:]:
            raise ValueError(
                f"MemoryQueue(name={self.name!r}) holds keys of shape {list(held.shape[1:])}, the {rows.name}s{whose} "
                f"have {list(rows.first.shape[1:])}: the checkpoint was made with another head or encoder. Use that one, or "
                "start without the checkpoint (init_from takes its weights only)."
            )

    def block(self) -> Candidates:
        """The entries in use, as candidates; views of the queue, not copies."""
        rows = self._fifo.rows()
        leaves = tuple(value for key, value in rows.items() if key.startswith("z/"))
        payload = {key.removeprefix("payload/"): value for key, value in rows.items() if key.startswith("payload/")}
        z = leaves if self._tuple else leaves[0]
        return Candidates(z, payload, name=self.name, where="replicated", prepared=True)

    def _concerns(self, contrast: Contrast) -> bool:
        self._names_seen.add(contrast.name)
        return self.directions is None or contrast.name in self.directions

    def _is_new(self, contrast: Contrast) -> bool:
        """Whether these keys were not in an earlier contrast of this step. Told by memory, since embeddings may be equal."""
        if not self._concerns(contrast):
            return False
        z = contrast.candidates[0].first.detach()
        new = all(z.data_ptr() != old.data_ptr() or z.numel() != old.numel() for old in self._keys_seen)
        self._keys_seen.append(z)  # kept alive, so that its address stays its own
        return new

    # Then enqueue -------------------------------------------------------------------------------------------------

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: Any, contrast: Contrast, loss: Tensor) -> None:
        """Keeps the keys of all processes; callbacks after this one still see the queue as it was scored."""
        if self._feeds and self._feeds.popleft():
            self._waiting.append((gathered_keys(contrast, pl_module), trainer.global_step))
        if not self._feeds:
            self._keys_seen.clear()

    def _settle(self) -> None:
        """Enqueues what is waiting, once everybody has seen the step."""
        for keys, step in self._waiting:
            self._enqueue(keys, step)
        self._waiting.clear()

    def _enqueue(self, keys: Candidates, step: int) -> None:
        wanted = self.payload
        if wanted is None:
            wanted = tuple(key for key in KNOWN if key in keys.payload)
        columns = {f"payload/{key}": keys.get(key) for key in wanted}
        if self._fifo.columns and set(columns) != {k for k in self._fifo.columns if k.startswith("payload/")}:
            raise ValueError(
                f"MemoryQueue(name={self.name!r}) stores {sorted(self._fifo.columns)}, but the keys now come with payload "
                f"{sorted(keys.payload)}: every batch must have the same keys, or name them with payload=[...]."
            )
        self._check_shape(keys)
        self._tuple = isinstance(keys.z, tuple)
        for i, leaf in enumerate(keys.leaves):
            columns[f"z/{i}"] = leaf.bfloat16() if self.dtype and leaf.is_floating_point() else leaf
        columns["step"] = torch.full((keys.rows,), step, dtype=torch.int64, device=keys.first.device)
        self._fifo.to(keys.first.device)
        self._fifo.write(columns, None if self.classes is None else keys.get("label"))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Enqueues, logs fill and age; checks the names of directions once they are known."""
        self._settle()
        if self._is_misnamed() and (batch_idx == 99 or trainer.is_last_batch):  # some modalities are rare
            raise ValueError(
                f"MemoryQueue(directions={list(self.directions or ())}): this module's contrasts are called "
                f"{sorted(self._names_seen)}."
            )
        if self.fill and logs_now(trainer):
            age = trainer.global_step - self._fifo.rows()["step"].double().mean()
            pl_module.log_dict({f"{self.name}/fill": float(self.fill), f"{self.name}/age": age.float()})

    def _is_misnamed(self) -> bool:
        return self.directions is not None and not set(self.directions) <= self._names_seen

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Entries, their payload and steps, and the place of the next one; equal on all processes."""
        self._settle()
        return {**self._fifo.state_dict(), "tuple": self._tuple}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes; a queue of another size keeps the newest entries that fit.

        Raises:
            ValueError: for a state that is not a queue's, or has another payload or number of classes.
        """
        require_state(
            state_dict, {"size", "classes", "written", "columns", "tuple"}, f"MemoryQueue(name={self.name!r})"
        )
        stored = {key.removeprefix("payload/") for key in state_dict["columns"] if key.startswith("payload/")}
        if state_dict["columns"] and self.payload is not None and stored != set(self.payload):
            raise ValueError(
                f"MemoryQueue(name={self.name!r}, payload={list(self.payload)}): the checkpoint's queue stores "
                f"{sorted(stored)}; use the same payload as the run that saved it."
            )
        try:
            ring = Fifo(self.size, self.classes)
            ring.load_state_dict(state_dict)
        except ValueError as error:
            raise ValueError(f"MemoryQueue(name={self.name!r}): {error}") from error
        self._fifo, self._tuple = ring, bool(state_dict["tuple"])
        self._waiting.clear()
