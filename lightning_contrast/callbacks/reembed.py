"""Every so often: embed the data set, then do something with it."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_contrast.callbacks.background import (
    Background,
    Check,
    beside,
    require_background,
    require_quiet_samples,
    snapshot,
)
from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.callbacks.embedding import (
    embedded,
    gathered,
    joined_columns,
    loader_over,
    own_rows,
    read_sample,
    sample_batch,
    training_source,
)
from lightning_contrast.callbacks.keys import KNOWN
from lightning_contrast.callbacks.teacher_embedding import TeacherEmbedding
from lightning_contrast.callbacks.trigger import Trigger
from lightning_contrast.data.resume import isolated_random_state

Then = Callable[[Any, Any, dict[str, Tensor]], None]


class Reembed(ContrastCallback):
    """Before the first batch of every n-th epoch, before every n-th step, or when the loss stalls, embeds all training
    samples.

    The samples come from the DataModule's ``bank_dataloader()`` (not augmented), else from the training data set. They are
    shared over processes, encoded in evaluation mode, and complete on every process afterwards; random states, gradients
    and modes are left as they were. A run resumed at any step repeats what was due.

    With ``asynchronous`` a copy of the module embeds in the background while training goes on; what comes of it is taken up
    ``take_up_after`` steps later, whenever it was ready, so that runs repeat. Processes meet only in the main thread. A
    checkpoint saved in between holds the copy's weights, and the resumed run embeds with them again.

    Args:
        then: called with Trainer, module and tensors by key: ``z`` ``[N, D]``, ``index`` ``[N]``, ``label`` where there is
            one; in the space of embeddings also ``key`` ``[N, D]``, the other side of a pair. Subclasses override
            :meth:`receive` instead.
        every_n_steps: optimizer steps from one to the next; ``None`` goes by epochs.
        every_n_epochs: epochs from one to the next, unless by steps or stalls.
        start: the first step or epoch.
        space: ``feature``: before the head. ``embedding``: after it, what is contrasted.
        weights: ``current``, or ``teacher``: ``module.teacher`` embeds both sides (in the space of embeddings). While it
            has nothing to teach, nothing is done.
        stall_steps: at ``start``, then whenever the mean training loss over so many steps is no lower than before.
        stall_delta: by how much lower, at least.
        asynchronous: embed in the background.
        take_up_after: optimizer steps until the result of the background is taken up, >= 1.

    Raises:
        ValueError: for values out of range; before training for data without length, items or index, and for what cannot
            be done in the background.
    """

    def __init__(
        self,
        then: Then | None = None,
        every_n_steps: int | None = None,
        every_n_epochs: int = 1,
        start: int = 0,
        space: Literal["feature", "embedding"] = "feature",
        weights: Literal["current", "teacher"] = "current",
        stall_steps: int | None = None,
        stall_delta: float = 0.0,
        asynchronous: bool = False,
        take_up_after: int = 100,
    ) -> None:
        if space not in ("feature", "embedding"):
            raise ValueError(f"space={space!r}: use 'feature' (before the head) or 'embedding' (after it).")
        if weights not in ("current", "teacher") or (weights == "teacher" and space == "feature"):
            raise ValueError(
                f"weights={weights!r}, space={space!r}: use 'current', or 'teacher' in the space 'embedding'."
            )
        if take_up_after < 1 or (asynchronous and every_n_steps is not None and take_up_after > every_n_steps):
            raise ValueError(
                f"take_up_after={take_up_after}: must be at least 1, and at most every_n_steps={every_n_steps}: one "
                "result is taken up before the next is begun."
            )
        self.trigger = Trigger(every_n_steps, every_n_epochs, start, stall_steps, stall_delta)
        self.then, self.every_n_steps, self.every_n_epochs = then, every_n_steps, every_n_epochs
        self.start, self.space, self.weights = start, space, weights
        self.stall_steps, self.stall_delta = stall_steps, stall_delta
        self.asynchronous, self.take_up_after = asynchronous, take_up_after
        self.step = -1
        """The optimizer step whose weights embedded the data; set before :meth:`prepare` and :meth:`receive`."""
        self.seconds, self.embedding_seconds = 0.0, 0.0
        """What the last one took, and what of it embedding did."""
        self._source: DataLoader[Any] | None = None
        self._weights: dict[str, Tensor] | None = None  # of the copy at work
        self._job: Background[dict[str, Tensor]] | None = None
        self._data: dict[str, Tensor] | None = None

    # For subclasses -----------------------------------------------------------------------------------------------

    def prepare(self, data: dict[str, Tensor], rows: Tensor, check: Check) -> dict[str, Tensor]:
        """Heavy work on this process's rows of the data; may run in the background, so no collectives, hooks or logs.

        Args:
            data: of all processes.
            rows: of the data, this process's share.
            check: call it now and then; it raises where the work is no longer wanted.

        Returns:
            Tensors ``[len(rows), ...]`` that :meth:`receive` finds in its data, of all processes.
        """
        return {}

    def receive(self, trainer: Any, pl_module: Any, data: dict[str, Tensor]) -> None:
        """What to do with the embedded data set."""
        if self.then is not None:
            self.then(trainer, pl_module, data)

    def payload(self) -> tuple[str, ...]:
        """Keys of the batch that the data keep, where they are there."""
        return KNOWN

    # When ---------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Refuses what cannot be done, before anything is trained."""
        super().setup(trainer, pl_module, stage)
        self.require(pl_module, any(isinstance(c, TeacherEmbedding) for c in trainer.callbacks))
        if self.asynchronous:
            require_background(trainer, type(self).__name__)

    def require(self, pl_module: Any, brought: bool = False) -> None:
        """Whether this module can be embedded as asked.

        Args:
            pl_module: the module.
            brought: whether a callback brings a teacher.

        Raises:
            ValueError: for a teacher that is not there.
        """
        asked = self.asks_teacher()
        if asked is not None and pl_module.teacher is None and not brought:
            raise ValueError(
                f"{type(self).__name__}({asked}) needs a teacher: ContrastiveModule(key_encoder=Momentum(...)), or a "
                "callback TeacherEmbedding(...)."
            )

    def asks_teacher(self) -> str | None:
        """The argument by which ``module.teacher`` is read, if one does."""
        return "weights='teacher'" if self.weights == "teacher" else None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Finds the samples and looks at the first."""
        self._source = training_source(trainer, type(self).__name__)
        with isolated_random_state(0):
            self._check(sample_batch(self._source))
        if self.asynchronous:
            require_quiet_samples(trainer, self._source, type(self).__name__)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Embeds, when it is time, and takes up what is due."""
        due = self.trigger.due(trainer) and (self.asks_teacher() is None or pl_module.teacher.ready)
        if self._weights is not None:
            self._go_on(trainer, pl_module, at_once=due)
        if due and self.asynchronous:
            copied = snapshot(pl_module)
            self.step, self._weights = trainer.global_step, dict(copied.state_dict())
            self._job = self._embedding(trainer, copied)
        elif due:
            self._now(trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Sees the loss."""
        if self.stall_steps is not None and isinstance(outputs, Mapping):
            self.trigger.see(outputs["loss"])

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ends what is under way."""
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Ends what is under way; its weights stay in the state."""
        if self._job is not None:
            self._job.stop()
        self._job, self._data = None, None

    # How ----------------------------------------------------------------------------------------------------------

    def _now(self, trainer: Any, pl_module: Any) -> None:
        assert self._source is not None
        self.step, began = trainer.global_step, time.perf_counter()
        read = lambda batch: self.read(pl_module, batch)  # noqa: E731
        data = embedded(trainer, pl_module, self._source, read, text="Embedding")
        self.embedding_seconds = time.perf_counter() - began
        prepared = self.prepare(data, self._share(trainer, data), lambda: None)
        self.seconds = time.perf_counter() - began
        self.receive(trainer, pl_module, data | gathered(prepared, pl_module.device))

    def _go_on(self, trainer: Any, pl_module: Any, at_once: bool = False) -> None:
        """Work in the background has two parts: embedding, then :meth:`prepare`. The main thread joins them at fixed steps
        and is where processes meet."""
        if self._job is None:  # resumed
            self._job = self._embedding(trainer, snapshot(pl_module, self._weights))
        age = trainer.global_step - self.step
        if self._data is None and (at_once or age >= max(1, self.take_up_after * 3 // 4)):
            data = self._data = gathered(self._job.result(), pl_module.device)
            self.embedding_seconds, rows = self._job.seconds, self._share(trainer, data)
            self._job = Background(lambda check: self.prepare(data, rows, check))
        if self._data is not None and (at_once or age >= self.take_up_after):
            data, prepared = self._data, gathered(self._job.result(), pl_module.device)
            self.seconds = self.embedding_seconds + self._job.seconds
            self._job, self._data, self._weights = None, None, None
            self.receive(trainer, pl_module, data | prepared)

    def _embedding(self, trainer: Any, copied: Any) -> Background[dict[str, Tensor]]:
        source = self._source
        assert source is not None
        rows = own_rows(trainer, torch.arange(len(source.dataset))).tolist()  # type: ignore[arg-type]

        def work(check: Check) -> dict[str, Tensor]:
            parts = []
            with torch.no_grad():
                for batch in loader_over(source, rows):
                    check()
                    with beside(trainer):
                        batch = trainer.precision_plugin.convert_input(batch)
                        batch = move_data_to_device(batch, trainer.strategy.root_device)
                        parts.append(self.read(copied, batch))
            return joined_columns(parts)

        return Background(work)

    @staticmethod
    def _share(trainer: Any, data: Mapping[str, Tensor]) -> Tensor:
        return own_rows(trainer, torch.arange(len(data["index"]), device=data["index"].device))

    def read(self, pl_module: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Embeddings of a batch on the device, and what is kept of it."""
        self._check(batch)
        return read_sample(pl_module, batch, self.space, self.weights, self.payload())

    def _check(self, batch: Any) -> None:
        if not isinstance(batch, Mapping) or "index" not in batch:
            found = sorted(batch) if isinstance(batch, Mapping) else type(batch).__name__
            raise ValueError(
                f"{type(self).__name__} needs the 'index' of every sample, by which it is found again; the data set yields "
                f"{found}."
            )

    # State --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """When it was last due, so that a resumed epoch does not do it twice, and the copy at work in the background."""
        work = None if self._weights is None else {"step": self.step, "weights": self._weights}
        return {**self.trigger.state_dict(), "work": work}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """As saved, at any number of processes.

        Raises:
            ValueError: for a state that is not this callback's.
        """
        if "last" not in state_dict:
            raise ValueError(f"{type(self).__name__}: the checkpoint's state is another's: {sorted(state_dict)}.")
        self.trigger.load_state_dict(state_dict)
        work = state_dict.get("work")
        if work is not None:
            self.step, self._weights = int(work["step"]), dict(work["weights"])
