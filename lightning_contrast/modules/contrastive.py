"""The LightningModule: any encoder, any objective, any strategy."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lightning_contrast.contrast import Contrast, Result
from lightning_contrast.contrast.ring import check_ring
from lightning_contrast.data.batch import batch_inputs, check_batch
from lightning_contrast.data.exact_resume import ExactResume
from lightning_contrast.encoders import EncoderLike, Teacher
from lightning_contrast.functional.finite import NonFiniteError
from lightning_contrast.heads import HeadLike
from lightning_contrast.modules import setup as preparation
from lightning_contrast.modules.checks import applied, check_arguments, check_embeddings
from lightning_contrast.modules.chunks import encode_sides, joined, rows_of, shapes_of
from lightning_contrast.modules.figures import check_finite, logs_now, seen, training_figures
from lightning_contrast.modules.inputs import Inputs, inputs_of, payload_of, with_negatives_known
from lightning_contrast.modules.optimizers import configured_optimizers
from lightning_contrast.modules.steps import WithSteps
from lightning_contrast.objectives import InfoNCE, Objective
from lightning_contrast.transforms import TransformLike
from lightning_contrast.transforms.transform import in_order, transformed, transformed_pairs


class ContrastiveModule(WithSteps):
    """Contrastive training of any encoder, in automatic optimisation.

    Subclasses override :meth:`embed` (from inputs to features) or :meth:`contrast` (from a batch to what is compared).

    Args:
        encoder: inputs to features ``[N, F]``. In Python any ``nn.Module``; on the command line an ``Encoder``, or
            ``ModuleEncoder`` with the import path of anything else.
        objective: ``None`` is InfoNCE at temperature 0.1.
        head: features to embeddings, trained and then thrown away; ``None`` is no head.
        key_encoder: ``None``: both sides share ``encoder``. ``Momentum``: keys come from its moving average; likewise any
            other ``Teacher``. Another module: a second tower for the second input (image and text).
        key_head: head of a second tower; ``None`` is no head.
        predictor: on top of the head, on the anchors' side only (BYOL, SimSiam, MoCo v3).
        transform: what is done to the embeddings before they are compared; one, or a list in order.
        in_batch: whether the partners of other anchors are candidates (``False`` for MoCo v2, which has its queue).
        both_orders: with a key encoder or predictor, also take the second view as anchor and the first as key.
        optimizer: ``None`` is AdamW at 1e-3. Biases and norms get no weight decay.
        lr_scheduler: ``None`` is a constant learning rate. ``WarmupCosine`` learns the number of steps by itself.
        chunk_size: encode so many rows at a time, with memory that does not grow with the batch.
        chunk_tokens: the same for texts by their tokens: rows x longest text of a chunk; long texts make small chunks.
        keep_chunks: so many chunks keep their graph: faster, for their memory.
        exchange: how candidates of other ranks are reached.
        init_from: a checkpoint of another run, or a file of weights, to start from.

    Raises:
        ValueError: for values out of range; before training for what does not fit together.
    """

    def __init__(
        self,
        encoder: EncoderLike,
        objective: Objective | None = None,
        head: HeadLike | None = None,
        key_encoder: EncoderLike | None = None,
        key_head: HeadLike | None = None,
        predictor: HeadLike | None = None,
        transform: TransformLike | None = None,
        in_batch: bool = True,
        both_orders: bool = False,
        optimizer: OptimizerCallable | None = None,
        lr_scheduler: LRSchedulerCallable | None = None,
        chunk_size: int | None = None,
        keep_chunks: int = 0,
        exchange: Literal["gather", "ring", "none"] = "gather",
        init_from: str | None = None,
        chunk_tokens: int | None = None,
    ) -> None:
        super().__init__()
        preparation.save_plain_hyperparameters(self)
        self.encoder, self.head, self.predictor = encoder, head, predictor
        self.objective = objective if objective is not None else InfoNCE()
        self.key_encoder, self.key_head, self.transforms = key_encoder, key_head, in_order(transform)
        self.in_batch, self.both_orders = in_batch, both_orders
        self.optimizer, self.lr_scheduler = optimizer, lr_scheduler
        self.chunk_size, self.keep_chunks, self.exchange = chunk_size, keep_chunks, exchange
        self.init_from, self.chunk_tokens = init_from, chunk_tokens
        check_arguments(self)
        self.extras = nn.ModuleDict()
        """What callbacks train; they register it in ``setup``."""
        if isinstance(key_encoder, Teacher):
            key_encoder.follow(self._online())
        self._probing = False
        self._scored: list[tuple[Contrast, Result]] = []

    # Encoding -----------------------------------------------------------------------------------------------------

    def embed(self, inputs: Any) -> Tensor:
        """Features ``[N, F]``, before the head: what is evaluated, predicted and shipped."""
        return self.encoder(inputs)

    def forward(self, inputs: Any) -> Tensor:
        """The same as :meth:`embed`."""
        return self.embed(inputs)

    def project(self, inputs: Any) -> Tensor:
        """Embeddings ``[N, D]`` of anchors, through head and predictor, in chunks when asked to."""
        return self._chunked(self._anchor_path, inputs)[0]

    def project_keys(self, inputs: Any) -> Tensor:
        """Embeddings ``[N, D]`` of keys: by a teacher, by the second tower, or by the shared encoder."""
        if isinstance(self.key_encoder, Teacher):
            with torch.no_grad():  # nothing to differentiate: chunks only bound memory
                return self._chunked(self.key_encoder, inputs)[0]
        return self._chunked(self._key_path, inputs)[0]

    def _anchor_path(self, x: Any) -> Tensor:
        z = applied("encoder", self.embed, x)
        z = z if self.head is None else applied("head", self.head, z)
        return z if self.predictor is None else applied("predictor", self.predictor, z)

    def _key_path(self, x: Any) -> Tensor:
        if self.key_encoder is None:
            z, name, head = applied("encoder", self.embed, x), "head", self.head
        else:
            z, name, head = applied("key encoder", self.key_encoder, x), "key head", self.key_head
        return z if head is None else applied(name, head, z)

    def _chunked(self, path: Any, *sides: Any) -> list[Tensor]:
        if self.chunk_tokens is None and (self.chunk_size is None or max(map(rows_of, sides)) <= self.chunk_size):
            return [path(side) for side in sides]
        size, tokens = self.chunk_size, None if self.chunk_size else self.chunk_tokens
        sharded = preparation.shards_parameters(self)
        return encode_sides(path, sides, size=size, tokens=tokens, module=self, keep=self.keep_chunks, sharded=sharded)

    def _views(self, views: Sequence[Any]) -> list[Tensor]:
        """Embeddings of every view; views of equal shape share one forward pass, and one BatchNorm."""
        out: list[Tensor] = []
        start = 0
        while start < len(views):
            stop = start + 1
            while stop < len(views) and shapes_of(views[stop]) == shapes_of(views[start]):
                stop += 1
            out += check_embeddings(self.project(joined(list(views[start:stop])))).chunk(stop - start)
            start = stop
        return out

    # What is compared ---------------------------------------------------------------------------------------------

    def contrast(self, batch: Mapping[str, Any]) -> Contrast | list[Contrast]:
        """What this batch compares with what; with several contrasts the loss is their mean."""
        payload = payload_of(batch)
        inputs = inputs_of(batch)
        if inputs.views is None:
            return self._pairs(inputs, payload)
        views = inputs.views
        if self.key_encoder is None and self.predictor is None:
            return Contrast.from_views(transformed(self.transforms, torch.stack(self._views(views)))[0], **payload)
        queries = torch.stack(self._views(views))
        # Small crops are never keys: only the first two views are (SwAV, DINO).
        keys = torch.stack([self.project_keys(view).detach() for view in views[: 2 if len(views) > 1 else 1]])
        queries, keys = transformed(self.transforms, queries, keys)
        orders = [(q, k) for q in range(len(queries)) for k in range(len(keys)) if q != k]
        if len(queries) == 2 and not self.both_orders:
            orders = orders[:1]
        return [
            Contrast.from_pairs(
                queries[q], keys[k], in_batch=self.in_batch, name=f"view{q + 1}->view{k + 1}", **payload
            )
            for q, k in orders
        ]

    def _pairs(self, inputs: Inputs, payload: dict[str, Any]) -> Contrast:
        extra: dict[str, Any] = {}
        keys = [side for side in (inputs.positives, inputs.negatives) if side is not None]
        if self.key_encoder is None and self.predictor is None:
            anchors, positives, *more = self._chunked(self._anchor_path, inputs.anchors, *keys)
        else:
            anchors, (positives, *more) = self.project(inputs.anchors), map(self.project_keys, keys)
        z = more[0] if more else None
        anchors, positives, z = transformed_pairs(self.transforms, anchors, positives, z)
        if z is not None:
            n = rows_of(inputs.anchors)
            # H negatives an anchor arrive as N * H rows; they serve the whole batch unless in_batch says otherwise.
            extra["negatives"] = z if self.in_batch or z.shape[0] % n else z.unflatten(0, (n, -1))
        contrast = Contrast.from_pairs(anchors, positives, in_batch=self.in_batch, **payload, **extra)
        return with_negatives_known(contrast, inputs)

    # Steps --------------------------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int = 0) -> Tensor:
        """The loss of a batch; hooks may change what is compared."""
        results = self._score(batch)
        loss = torch.stack([r.loss for _, r in results]).mean()
        if self._probing:
            return loss
        self._scored = results
        if logs_now(self):
            check_finite(loss, self)
            self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=True)
            self.log_dict(training_figures(self, results))
        return loss

    def validation_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        """Logs ``val/loss``. Callbacks add what they add in training; memories are read but not changed."""
        self._log_evaluation("val", batch)

    def test_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> None:
        """Logs ``test/loss``."""
        self._log_evaluation("test", batch)

    def predict_step(self, batch: Any, batch_idx: int = 0, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """Features and the index of each sample (and the label, where there is one)."""
        if not isinstance(batch, Mapping):
            return {"embedding": self.embed(batch[0] if isinstance(batch, (list, tuple)) else batch)}
        inputs = batch["input"] if "input" in batch else next(iter(batch_inputs(batch).values()))
        kept = {key: batch[key] for key in ("index", "label") if key in batch}
        return {"embedding": self.embed(inputs), **kept}

    def _score(self, batch: Any) -> list[tuple[Contrast, Result]]:
        requires = self.objective.requires
        alone = any(getattr(part, "one_view", False) for part in [self.objective, *self._callbacks("on_contrast")])
        check_batch(batch, labels_make_pairs="label" in requires, need=requires, one_view=alone)
        with preparation.listening(self):
            made = self.contrast(batch)
        contrasts = [c.replace(exchange=self.exchange) for c in ([made] if isinstance(made, Contrast) else made)]
        directions = self.objective.directions(contrasts)
        if self._probing and self.exchange == "ring":
            for contrast in directions:
                check_ring(contrast, self.objective.rows, self.objective.reduction, self.objective.parameters())
        if not self._probing:
            directions = tuple(self._on_contrast(contrast) for contrast in directions)
        try:
            return list(zip(directions, self.objective.evaluate_all(directions), strict=True))
        except NonFiniteError as error:
            raise NonFiniteError(f"Step {self.global_step}, {type(self.objective).__name__}: {error}") from None
        finally:
            for term in preparation.listeners(self):
                term.forget()

    def _on_contrast(self, contrast: Contrast) -> Contrast:
        for callback in self._callbacks("on_contrast"):
            changed = callback.on_contrast(self.trainer, self, contrast)
            if not isinstance(changed, Contrast):
                raise TypeError(
                    f"{type(callback).__name__}.on_contrast returned {type(changed).__name__}: return the contrast "
                    "(it is immutable, so changes are in what you return)."
                )
            contrast = changed
        return contrast

    def _callbacks(self, hook: str) -> list[Any]:
        return [c for c in getattr(self._trainer, "callbacks", []) if hasattr(c, hook)] if self._trainer else []

    def on_after_backward(self) -> None:
        """Memories are updated here: after backward, so that nothing saved for it changes under it."""
        callbacks = self._callbacks("on_contrast_end") if self._scored else []
        for _, result in self._scored:
            shown = seen(result) if callbacks else result.contrast
            for callback in callbacks:
                callback.on_contrast_end(self.trainer, self, shown, result.loss.detach())
        self._scored = []

    # Logging ------------------------------------------------------------------------------------------------------

    def _log_evaluation(self, stage: str, batch: Any) -> None:
        results = self._score(batch)
        if self._probing:
            return
        loss, rows = torch.stack([r.loss for _, r in results]).mean(), max(int(results[0][1].anchors), 1)
        self.log(f"{stage}/loss", loss, sync_dist=True, batch_size=rows, prog_bar=stage == "val")

    @torch.compiler.disable
    def log(self, *args: Any, **kwargs: Any) -> None:
        """As Lightning's; silent while widths are being found from a first batch."""
        if not self._probing:
            super().log(*args, **kwargs)

    # Set-up -------------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Checks what was put together, finds widths from a real batch, loads ``init_from``."""
        preparation.check_callbacks(self)
        preparation.find_widths(self, stage)
        for teacher in self.teachers().values():
            teacher.freeze()
        if stage == "fit":
            preparation.check_chunks(self)
            preparation.start_from(self)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Checkpoints keep random states and the place in the data, so that a resumed run is the uninterrupted one."""
        return [ExactResume()]

    def configure_optimizers(self) -> Any:
        """The optimizer and schedule given; objective, head and what callbacks train are trained too."""
        return configured_optimizers(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Sets aside what callbacks trained that are not here now."""
        preparation.set_orphans_aside(self, checkpoint)
